"""Reads how MLflow's own variables say to get into its server: who asks, and which certificates.

The variables mean what they mean to MLflow's client (mlflow.environment_variables), so that what
works with `mlflow` works with rdv. No error shows a password or a token.
"""

from __future__ import annotations

import configparser
import os
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

import httpx

CREDENTIALS_FILE = os.path.join(".mlflow", "credentials")
"""Below the home directory; the variables take precedence."""
_UNSUPPORTED = "MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4"
_YES, _NO = ("true", "1"), ("false", "0", "")


class Credentials(NamedTuple):
    """Identifies the caller: by user and password, or by a header for a token."""

    user_password: tuple[str, str] | None = None
    headers: Mapping[str, str] = {}


def credentials(environ: Mapping[str, str], user: str | None, password: str | None) -> Credentials:
    """Return who asks; `user` and `password` are those of the address, which take precedence.

    User and password count only together; without them a token counts. Raises ValueError.
    """
    if user is not None:
        return Credentials((unquote(user), unquote(password or "")))
    from_file = _from_file(environ)
    names = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
    name, secret = (environ.get(one) or from_file.get(one.lower(), "") for one in names)
    if name and secret:
        return Credentials((name, secret))
    token = environ.get("MLFLOW_TRACKING_TOKEN", "").strip()
    if not token:
        return Credentials()
    if not (token.isascii() and token.isprintable()):
        raise ValueError("MLFLOW_TRACKING_TOKEN has characters that no header may have")
    return Credentials(headers={"Authorization": f"Bearer {token}"})


def unsupported(environ: Mapping[str, str]) -> str:
    """Return the variable that asks for a kind of access that rdv does not have; empty for none."""
    found = (name for name in _UNSUPPORTED if environ.get(name, "").lower() not in _NO)
    return next(found, "")


def tls(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return which certificates are accepted, and shown. Raises ValueError."""
    name, authorities = _first(
        environ, "MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"
    )
    if _is_true(environ, "MLFLOW_TRACKING_INSECURE_TLS"):
        if name == "MLFLOW_TRACKING_SERVER_CERT_PATH":
            raise ValueError(f"MLFLOW_TRACKING_INSECURE_TLS is true, and {name} is set: unset one")
        context = httpx.create_ssl_context(verify=False)
    elif authorities:
        context = _trusting(name, authorities)
    else:
        name, file = _first(environ, "SSL_CERT_FILE", "SSL_CERT_DIR")
        context = _trusting(name, file) if file else httpx.create_ssl_context(trust_env=False)
    name, own = _first(environ, "MLFLOW_TRACKING_CLIENT_CERT_PATH")
    if own:
        try:
            # Without a function for the password OpenSSL asks at the terminal, and waits.
            context.load_cert_chain(own, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise ValueError(_unusable(name, own, error)) from None
    return context


def _trusting(name: str, path: str) -> ssl.SSLContext:
    try:
        if os.path.isdir(path):
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:
        raise ValueError(_unusable(name, path, error)) from None


def _unusable(name: str, path: str, error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"{name} {path!r}: it has no usable certificate in PEM format ({error.reason})"
    return f"{name} {path!r}: {getattr(error, 'strerror', None) or error}"


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    return next(((name, environ[name]) for name in names if environ.get(name)), ("", ""))


def _is_true(environ: Mapping[str, str], name: str) -> bool:
    value = environ.get(name, "").lower()
    if value not in _YES + _NO:
        raise ValueError(f"{name} is {value!r}: it is true or false")
    return value in _YES


def _from_file(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return what the file of credentials says. Raises ValueError."""
    home = environ.get("HOME")
    if not home:
        return {}
    path = os.path.join(home, CREDENTIALS_FILE)
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        # The text of a parser's error shows the line, and so the password.
        raise ValueError(f"{path} cannot be read ({type(error).__name__})") from None
    return parser["mlflow"] if parser.has_section("mlflow") else {}
