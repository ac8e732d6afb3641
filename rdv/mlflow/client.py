"""Speaks to the model registry of an MLflow server by its REST API.

`rdv.mlflow.access` says where passwords, tokens and certificates come from.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit, urlunsplit

import httpx

from rdv.decision.mlflow import Mlflow
from rdv.decision.registry import RegistryUri
from rdv.mlflow.access import Credentials, credentials, tls, unsupported
from rdv.mlflow.errors import (
    NotInRegistry,
    NoTrackingUri,
    RegistryDenied,
    RegistryRefused,
    RegistryUnreachable,
    UnusableTrackingUri,
)
from rdv.models.model import one_line

JSON_BYTES_MAX = 16 * 1024 * 1024
"""The maximum size of an answer that is not a file."""
TEXT_MAX = 300
API = "/api/2.0/mlflow"


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model; `stamp` differs when it was deleted and made anew."""

    name: str
    version: str
    stamp: str
    status: str


def tracking_uri(settings: Mlflow, environ: Mapping[str, str], fallback: str = "") -> str:
    """Return the server's address: of RDV_MLFLOW_TRACKING_URI, MLFLOW_TRACKING_URI, rdv.toml.

    Pure. Empty when there is none.
    """
    names = ("RDV_MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI")
    given = next((environ[name] for name in names if environ.get(name)), "")
    return given or settings.tracking_uri or fallback


def without_secrets(uri: str) -> str:
    """Return an address without user and password. Pure."""
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 - raises where a "/" in the password has divided it
    except ValueError:
        return "an address that cannot be read"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class Registry:
    """The registry of one server. For one thread; use it as a context manager."""

    def __init__(
        self,
        uri: str,
        environ: Mapping[str, str],
        timeout_ms: int,
        *,
        has_credentials: bool = True,
    ) -> None:
        """Connect at the first request. Raises NoTrackingUri, UnusableTrackingUri.

        Without `has_credentials`, only those of the address are sent, and those of a certificate.
        """
        if not uri:
            raise NoTrackingUri("models:/")
        self.given = uri
        """The address with user and password, for a process that connects itself."""
        self.address = without_secrets(uri)
        self._environ, self._timeout_ms = environ, timeout_ms
        try:
            parts = urlsplit(uri)
            parts.port  # noqa: B018 - raises for an invalid one
        except ValueError:  # its text may show a part of the password
            reason = "its host or port cannot be read"
            raise UnusableTrackingUri(self.address, reason) from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UnusableTrackingUri(self.address, "it is not the address of a server")
        self._base = urlunsplit(
            (parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", "")
        )
        secrets = environ if has_credentials else {}
        try:
            own = credentials(secrets, parts.username, parts.password)
            # An address of http may be redirected to https.
            context = tls(environ)
        except ValueError as error:
            raise UnusableTrackingUri(self.address, str(error)) from None
        self._unsupported = "" if own != Credentials() else unsupported(secrets)
        self._http = httpx.Client(
            auth=own.user_password,
            # Not compressed: a few bytes of that are many, before they can be counted.
            headers={"Accept-Encoding": "identity", **own.headers},
            timeout=timeout_ms / 1000,
            verify=context,
            follow_redirects=True,
            max_redirects=3,
        )

    def version_of(self, uri: RegistryUri) -> ModelVersion:
        """Return the version that an alias or a number names now.

        Raises NotInRegistry, RegistryDenied, RegistryRefused, RegistryUnreachable.
        """
        if uri.alias:
            path, params = "registered-models/alias", {"name": uri.name, "alias": uri.alias}
        else:
            path, params = "model-versions/get", {"name": uri.name, "version": uri.version}
        found = self._call("GET", f"{API}/{path}", params=params, about=str(uri))
        one = found.get("model_version")
        number = str(one.get("version", "")) if isinstance(one, dict) else ""
        if not isinstance(one, dict) or not (number.isascii() and number.isdigit()):
            raise RegistryUnreachable(self.address, f"it names no version for {uri}")
        stamp = f"{one.get('creation_timestamp', '')} {one.get('source', '')}"
        status = one_line(str(one.get("status") or "READY"))[:TEXT_MAX]
        return ModelVersion(uri.name, number, stamp, status)

    def artifact_uri(self, name: str, version: str) -> str:
        """Return where the files of a version are. Raises as above."""
        found = self._call(
            "GET",
            f"{API}/model-versions/get-download-uri",
            params={"name": name, "version": version},
            about=f"models:/{name}/{version}",
        )
        return str(found.get("artifact_uri") or "")

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Make an alias name a version. Raises as above."""
        body = {"name": name, "alias": alias, "version": version}
        about = f"models:/{name}@{alias}"
        self._call("POST", f"{API}/registered-models/alias", body=body, about=about)

    def set_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version. Raises as above."""
        body = {"name": name, "version": version, "key": key, "value": value}
        about = f"models:/{name}/{version}"
        self._call("POST", f"{API}/model-versions/set-tag", body=body, about=about)

    @contextlib.contextmanager
    def artifacts_at(self, place: str) -> Iterator[Registry]:
        """Yield the server that passes files on: this one, or for `HOST:PORT` that one.

        Another server does not get user, password or token; the certificates are the same.
        """
        other = f"{urlsplit(self._base).scheme}://{place}"
        if not place or _server_of(other) == _server_of(self._base):
            yield self
            return
        with Registry(other, self._environ, self._timeout_ms, has_credentials=False) as server:
            yield server

    def list_files(self, root: str, about: str) -> list[dict[str, Any]]:
        """Return the entries of a folder behind the server's artifact proxy. Raises as above."""
        path = "/api/2.0/mlflow-artifacts/artifacts"
        files = self._call("GET", path, params={"path": root}, about=about).get("files", [])
        if not isinstance(files, list) or not all(isinstance(one, dict) for one in files):
            raise RegistryUnreachable(self.address, f"it lists no files for {about}")
        return files

    @contextlib.contextmanager
    def file(self, path: str, about: str) -> Iterator[Iterator[bytes]]:
        """Yield the pieces of a file behind the artifact proxy. Raises as above, in pieces too."""
        url = f"{self._base}/api/2.0/mlflow-artifacts/artifacts/{quote(path)}"
        try:
            with self._http.stream("GET", url) as response:
                if response.status_code != httpx.codes.OK:
                    self._refuse(response, about)
                yield response.iter_raw()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RegistryUnreachable(self.address, _reason(error)) from None

    def _call(
        self,
        method: str,
        path: str,
        *,
        about: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            with self._http.stream(
                method, f"{self._base}{path}", params=params, json=body
            ) as response:
                if response.status_code != httpx.codes.OK:
                    self._refuse(response, about)
                found = json.loads(_read(response))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RegistryUnreachable(self.address, _reason(error)) from None
        except (ValueError, RecursionError):
            reason = "its answer is not that of an MLflow server"
            raise RegistryUnreachable(self.address, reason) from None
        if not isinstance(found, dict):
            raise RegistryUnreachable(self.address, "its answer is not that of an MLflow server")
        return found

    def _refuse(self, response: httpx.Response, about: str) -> None:
        """Raise the error for a status other than 200."""
        status = response.status_code
        if status in (401, 403):
            raise RegistryDenied(self.address, status, self._unsupported)
        try:
            found = json.loads(_read(response))
            code, text = (
                str(found["error_code"]),
                one_line(str(found["message"]))[:TEXT_MAX],
            )
        except (ValueError, RecursionError, LookupError, TypeError):
            code, text = "", f"HTTP {status}"
        is_unknown = code == "RESOURCE_DOES_NOT_EXIST" or (
            code == "INVALID_PARAMETER_VALUE" and "not found" in text
        )
        if is_unknown:
            raise NotInRegistry(about, text)
        if status >= 500 or status == 429:  # noqa: PLR2004
            raise RegistryUnreachable(self.address, text)
        if not code:
            raise RegistryUnreachable(self.address, f"{text}: is it an MLflow server?")
        raise RegistryRefused(self.address, text)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _server_of(address: str) -> tuple[str | None, int | None]:
    """Return host and port; (None, None) for an address that cannot be read."""
    try:
        parts = urlsplit(address)
        return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None, None


def _read(response: httpx.Response) -> bytes:
    """Return the body of an answer. Raises ValueError for one that is too large."""
    parts, size = [], 0
    for part in response.iter_raw():
        size += len(part)
        if size > JSON_BYTES_MAX:
            raise ValueError("too large")
        parts.append(part)
    return b"".join(parts)


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it takes too long"
    return one_line(str(error))[:TEXT_MAX] or type(error).__name__
