"""Decides by host name and origin which requests are served, and which proxies are trusted.

A web page can make its visitor's browser send requests to any address, including this machine's
own. Three headers that a page cannot forge identify such requests: Origin and Sec-Fetch-Site (which
page sent it) and Host (which name was used; after DNS rebinding it is a foreign name). The rules
are applied once for each distinct head. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rdv.http import failure as fail
from rdv.http.authority import Authority, parse_authority
from rdv.http.failure import Failure
from rdv.http.forwarded import Network, forwarded_client, is_trusted

ANY_HOST = "*"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")

_ORIGIN = re.compile(rb"(https?)://([^/?#]+)", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HEADER_NAMES = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z, \t]{1,1000}")
_METHOD = re.compile(rb"[A-Z]{1,16}")
_FROM_HERE = frozenset({b"same-origin", b"none"})
_PREFLIGHT_SECONDS = b"600"

Lines = tuple[tuple[bytes, bytes], ...]

_EXPOSED = b"X-Request-Id, Retry-After, Idempotency-Replayed, Inference-Header-Content-Length"
"""The headers of answers that the scripts of a page may read."""


@dataclass(frozen=True)
class Access:
    """Holds the rules for the heads of requests. Immutable. See `make_access`."""

    hosts: frozenset[str] | None = None
    """The host names, with or without a port, in canonical form; None: every name is served."""
    origins: frozenset[str] = frozenset()
    """Origins of web pages that are answered besides the server's own: `https://shop.example`."""
    exempt: frozenset[str] = frozenset()
    """Paths that are exempt from the host and origin checks."""
    trusted: tuple[Network, ...] = ()
    """Proxies whose statement about the client is trusted."""

    def judge(
        self, path: str, headers: Mapping[bytes, bytes], authorities: list[Authority]
    ) -> Failure | Lines:
        """Return the CORS header lines for the answer, or the failure if the request is refused.

        `authorities` are the hosts that the request names in its target and in its Host header, as
        far as it has them. All of them must be served here.
        """
        is_exempt = path in self.exempt
        if self.hosts is not None and not is_exempt:
            for authority in authorities:
                if not self._serves(self.hosts, authority):
                    return fail.misdirected(authority.host)
        origin = headers.get(b"origin")
        if origin is not None and self.origins and _canonical_origin(origin) in self.origins:
            return _cors_lines(origin, headers)
        if is_exempt:
            return ()
        own = authorities[0] if authorities else None
        if origin is not None and not _is_own(origin, own):
            return fail.foreign_origin(origin)
        if headers.get(b"sec-fetch-site", b"none") not in _FROM_HERE:
            return fail.foreign_origin(origin or b"")
        return ()

    @staticmethod
    def _serves(hosts: frozenset[str], authority: Authority) -> bool:
        if authority.host in hosts:
            return True
        ports = (authority.port,) if authority.port else tuple(_DEFAULT_PORTS.values())
        return any(f"{authority.host}:{port}" in hosts for port in ports)

    def trusts(self, address: str) -> bool:
        """Return whether the peer at this address is one of the trusted proxies."""
        return bool(self.trusted) and is_trusted(address, self.trusted)

    def forwarded(self, headers: Mapping[bytes, bytes]) -> str:
        """Return the client that a trusted proxy names in these headers, or an empty text."""
        return forwarded_client(headers, self.trusted) if self.trusted else ""


ACCEPT_ALL = Access()
"""Serves every host name, but no web pages of other origins."""


def make_access(
    hosts: Iterable[str],
    origins: Iterable[str] = (),
    exempt: Iterable[str] = (),
    trusted: Iterable[str] = (),
) -> Access:
    """Make an Access from settings as users write them. Raises ValueError with the reason."""
    names = {canonical_host(host) for host in hosts}
    return Access(
        None if ANY_HOST in names else frozenset(names),
        frozenset(canonical_origin(origin) for origin in origins),
        frozenset(exempt),
        tuple(trusted_network(network) for network in trusted),
    )


def canonical_host(text: str) -> str:
    """Return a host in the form of `Access.hosts`. Raises ValueError.

    `shop.example` stands for all its ports, `shop.example:8443` for one; `*` for everything.
    """
    if text == ANY_HOST:
        return text
    given = f"[{text}]" if text.count(":") > 1 and "[" not in text else text
    authority = parse_authority(given.encode(errors="replace"))
    if authority is None:
        raise ValueError(f"{text[:100]!r} is neither HOST nor HOST:PORT, as shop.example")
    return authority.host if authority.port is None else f"{authority.host}:{authority.port}"


def canonical_origin(text: str) -> str:
    """Return an origin in the form of `Access.origins`. Raises ValueError."""
    if text == "*":
        raise ValueError("'*' would let every web page in: list the origins of yours")
    found = _canonical_origin(text.encode(errors="replace"))
    if not found:
        raise ValueError(f"{text[:100]!r} is no origin, as https://shop.example (without a path)")
    return found


def trusted_network(text: str) -> Network:
    """Parse an address or a network such as 10.0.0.0/8. Raises ValueError."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text[:100]!r} is neither an address nor a network: {error}") from None


def is_loopback(host: str) -> bool:
    """Return whether a socket on this address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"


def _canonical_origin(origin: bytes) -> str:
    """Return the canonical origin; empty if invalid, or `null`, which sandboxed pages have."""
    matched = _ORIGIN.fullmatch(origin)
    authority = parse_authority(matched[2]) if matched is not None else None
    if matched is None or authority is None:
        return ""
    scheme = matched[1].decode().lower()
    port = authority.port
    is_default = port is None or port == _DEFAULT_PORTS[scheme]
    return f"{scheme}://{authority.host}" + ("" if is_default else f":{port}")


def _is_own(origin: bytes, own: Authority | None) -> bool:
    """Return whether a page of this server sent it. It may have come by a proxy that speaks TLS."""
    if own is None:
        return False
    name = own.host if own.port is None else f"{own.host}:{own.port}"
    found = _canonical_origin(origin)
    ours = {_canonical_origin(f"{scheme}://{name}".encode()) for scheme in _DEFAULT_PORTS}
    return bool(found) and found in ours


def _cors_lines(origin: bytes, headers: Mapping[bytes, bytes]) -> Lines:
    """Return the lines that let a page read the answer; for a preflight, what it may send."""
    lines = [(b"Access-Control-Allow-Origin", origin), (b"Vary", b"Origin")]
    method = headers.get(b"access-control-request-method")
    if method is None:
        lines.append((b"Access-Control-Expose-Headers", _EXPOSED))
        return tuple(lines)
    if _METHOD.fullmatch(method):
        lines.append((b"Access-Control-Allow-Methods", method))
    wanted = headers.get(b"access-control-request-headers")
    if wanted is not None and _HEADER_NAMES.fullmatch(wanted):
        lines.append((b"Access-Control-Allow-Headers", wanted))
    if headers.get(b"access-control-request-private-network") == b"true":
        lines.append((b"Access-Control-Allow-Private-Network", b"true"))
    lines.append((b"Access-Control-Max-Age", _PREFLIGHT_SECONDS))
    return tuple(lines)
