"""The settings of a model behind HTTP, and the parts of its servers' addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import msgspec

ProtocolName = Literal["json", "oip", "mlflow", "tfserving"]

PORTS = {"http": 80, "https": 443}
PORT_MAX = 65_535


class InvalidRemote(ValueError):
    """A setting of a model behind HTTP cannot be used; the text says which and why."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Holds the values of `http`, `protocol` and `remote` of [models.NAME].

    Their defaults and descriptions are those of `rdv.decision.remote.Remote`.
    """

    http: list[str]
    protocol: ProtocolName
    model: str
    columns: list[str]
    rows_key: str
    predictions_key: str
    result_key: str
    dataframe: Literal["records", "split"]
    token_env: str
    headers_env: dict[str, str]
    ca_file: str
    hedge: bool
    hedge_share: float
    in_flight_max: int
    version_every_ms: int
    answer_bytes_max: int


@dataclass(frozen=True, slots=True)
class Place:
    """A `Place` is the address of one server, from its URL."""

    is_tls: bool
    host: str
    port: int
    path: str
    """The path of "json" itself; for other protocols what comes before their own paths."""
    query: str = ""
    """With its question mark."""

    @property
    def authority(self) -> str:
        """Return the value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def scheme(self) -> str:
        return "https" if self.is_tls else "http"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def place_of(url: str) -> Place:
    """Return the parts of a URL. Raises InvalidRemote, whose text has no password."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidRemote("an address has only visible ASCII characters")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:  # its text may show a part of a password
        raise InvalidRemote("it is not an address: its host or port cannot be read") from None
    if parts.scheme not in PORTS:
        raise InvalidRemote(f"{parts.scheme or url!r} is not http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise InvalidRemote("a password does not belong into an address: use token_env")
    if not host:
        raise InvalidRemote("it names no host")
    if port == 0:
        raise InvalidRemote("there is no port 0")
    if parts.fragment:
        raise InvalidRemote(f"#{parts.fragment} has no meaning for a server")
    query = f"?{parts.query}" if parts.query else ""
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._")
    return Place(parts.scheme == "https", host, port or PORTS[parts.scheme], path, query)


def is_numeric(host: str) -> bool:
    """Return whether the host is an address already, so that no name has to be resolved."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def headers_of(settings: Settings, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers whose values are in the environment. Raises InvalidRemote.

    No error contains a value.
    """
    found = []
    wanted = dict(settings.headers_env)
    if settings.token_env:
        wanted["Authorization"] = settings.token_env
    for header, variable in wanted.items():
        value = environ.get(variable, "").strip()
        if not value:
            raise InvalidRemote(f"the variable {variable} for the header {header} is not set")
        if not value.isascii() or not value.isprintable():
            raise InvalidRemote(f"the variable {variable} has characters that no header may have")
        if variable == settings.token_env and header == "Authorization" and " " not in value:
            value = f"Bearer {value}"
        found.append((header, value))
    return found


def places_of(urls: Sequence[str]) -> list[Place]:
    """Return the places of all replicas. Raises InvalidRemote."""
    return [place_of(url) for url in urls]


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Convert plain values. Raises InvalidRemote."""
    try:
        return msgspec.convert(dict(values), Settings)
    except msgspec.ValidationError as error:
        raise InvalidRemote(str(error)) from None
