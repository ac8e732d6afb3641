"""Where spans are sent, and as what: by [traces] of rdv.toml and OpenTelemetry's variables. Pure.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/. A variable for traces alone
(OTEL_EXPORTER_OTLP_TRACES_…) comes before the general one (OTEL_EXPORTER_OTLP_…).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from rdv.decision.traces import otlp_variable
from rdv.errors import InputFault

TIMEOUT_MS = 10_000
PATH = "/v1/traces"
PROTOCOLS = ("", "http/protobuf")

_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t -~]*")


class InvalidTraces(InputFault):
    """What says where traces are sent cannot be used. `name` is a key or a variable."""

    name: str
    reason: str

    _text = "{name}: {reason}"
    _hint = "Set [traces] endpoint in rdv.toml, or OTEL_EXPORTER_OTLP_ENDPOINT."


@dataclass(frozen=True)
class Destination:
    """A collector, and how it is spoken to."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = TIMEOUT_MS / 1000
    is_compressed: bool = True
    certificate: str = ""
    """A file with the certificates that the collector's is checked with; empty: the system's."""
    client_certificate: str = ""
    client_key: str = ""

    @property
    def shown(self) -> str:
        """The address without what may be secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def destination(endpoint: str, environ: Mapping[str, str]) -> Destination:
    """Return where spans are sent; `endpoint` is that of rdv.toml. Raises InvalidTraces."""
    name, protocol = otlp_variable(environ, "PROTOCOL")
    if protocol not in PROTOCOLS:
        reason = (
            f"{protocol!r} is not served: spans are sent by http/protobuf, for which a collector "
            "has a port of its own, usually 4318 (OTEL_EXPORTER_OTLP_TRACES_PROTOCOL and "
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT are for traces alone)"
        )
        raise InvalidTraces(name, reason)
    name, compression = otlp_variable(environ, "COMPRESSION")
    if compression not in ("", "gzip", "none"):
        raise InvalidTraces(name, f"{compression!r} is neither gzip nor none")
    return Destination(
        _url(endpoint, environ),
        _headers(environ),
        _timeout_s(environ),
        compression != "none",
        *(
            otlp_variable(environ, key)[1]
            for key in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
        ),
    )


def resource(decision: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes of what decides; `decision` is its name. Raises InvalidTraces."""
    found = {"service.name": decision}
    name = "OTEL_RESOURCE_ATTRIBUTES"
    found.update(_pairs(name, environ.get(name, "")))
    if service := environ.get("OTEL_SERVICE_NAME", "").strip():
        found["service.name"] = service
    return found


def _url(endpoint: str, environ: Mapping[str, str]) -> str:
    name, url = otlp_variable(environ, "ENDPOINT")
    if not url:
        name, url = "traces.endpoint", endpoint.strip()
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or not url.isascii() or not url.isprintable() or " " in url:
        # Not shown: a password may be in it, and the status would repeat it.
        raise InvalidTraces(name, "it is not http://HOST:PORT or https://HOST:PORT")
    if name == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT":  # used as it is
        return url if parts.path else parts._replace(path="/").geturl()
    if parts.path.endswith(PATH) and name == "traces.endpoint":
        return url
    return parts._replace(path=parts.path.rstrip("/") + PATH).geturl()


def _headers(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    name, text = otlp_variable(environ, "HEADERS")
    pairs = _pairs(name, text)
    for number, (header, value) in enumerate(pairs.items(), start=1):
        if not _HEADER.fullmatch(header):  # it may be a whole line, with a token
            reason = f"the name of entry {number} has characters that no header's name may have"
            raise InvalidTraces(name, reason)
        if not _VALUE.fullmatch(value):
            raise InvalidTraces(name, f"the value of {header} has characters that none may have")
    return tuple(pairs.items())


def _pairs(name: str, text: str) -> dict[str, str]:
    """Return NAME=VALUE,NAME=VALUE with decoded values. Raises InvalidTraces, without a value."""
    found = {}
    for number, part in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise InvalidTraces(name, f"entry {number} is not NAME=VALUE")
        found[unquote(key.strip())] = unquote(value.strip())
    return found


def _timeout_s(environ: Mapping[str, str]) -> float:
    name, text = otlp_variable(environ, "TIMEOUT")
    if not text:
        return TIMEOUT_MS / 1000
    try:
        timeout_ms = float(text)
    except ValueError:
        timeout_ms = 0.0
    if not 1 <= timeout_ms <= 3_600_000:  # noqa: PLR2004
        raise InvalidTraces(name, f"{text!r} is no time in ms, such as 10000")
    return timeout_ms / 1000
