"""Who is served: the names of the server, the web pages that may call it, the proxies before it.

A web page can make its visitor's browser send requests to any address, this machine's own
included. Three headers that no page can forge tell them: Origin and Sec-Fetch-Site (which page),
and Host (by which name; a page whose name was pointed at this address afterwards has a foreign
one). All of it is judged once for each distinct head. Pure.
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


@dataclass(frozen=True)
class Access:
    """What a server holds the heads of requests against. Immutable. See `make_access`."""

    hosts: frozenset[str] | None = None
    """Names, and names with a port, in their canonical form; None: all are served."""
    origins: frozenset[str] = frozenset()
    """Web pages' origins that are answered, beside the server's own: `https://shop.example`."""
    exempt: frozenset[str] = frozenset()
    """Paths that everybody may ask for."""
    trusted: tuple[Network, ...] = ()
    """Proxies that are believed when they say whose request they pass on."""

    def judge(
        self, path: str, headers: Mapping[bytes, bytes], authorities: list[Authority]
    ) -> Failure | Lines:
        """The header lines (CORS) that the answer gets, or why there is none.

        `authorities`: whom the request is for, by its target and by its Host header, as far as
        it has them. All of them have to be served here.
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
        """Whether the peer at this address is one of the trusted proxies."""
        return bool(self.trusted) and is_trusted(address, self.trusted)

    def forwarded(self, headers: Mapping[bytes, bytes]) -> str:
        """Whose request a trusted proxy passes on with these headers; empty: it does not say."""
        return forwarded_client(headers, self.trusted) if self.trusted else ""


EVERYBODY = Access()
"""By whatever name, but for the pages of others."""


def make_access(
    hosts: Iterable[str],
    origins: Iterable[str] = (),
    exempt: Iterable[str] = (),
    trusted: Iterable[str] = (),
) -> Access:
    """An Access from settings as people write them. Raises ValueError that says what is wrong."""
    names = {canonical_host(host) for host in hosts}
    return Access(
        None if ANY_HOST in names else frozenset(names),
        frozenset(canonical_origin(origin) for origin in origins),
        frozenset(exempt),
        tuple(trusted_network(network) for network in trusted),
    )


def canonical_host(text: str) -> str:
    """A host as `Access.hosts` has it. Raises ValueError.

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
    """An origin as `Access.origins` has it. Raises ValueError."""
    if text == "*":
        raise ValueError("'*' would let every web page in: list the origins of yours")
    found = _canonical_origin(text.encode(errors="replace"))
    if not found:
        raise ValueError(f"{text[:100]!r} is no origin, as https://shop.example (without a path)")
    return found


def trusted_network(text: str) -> Network:
    """An address or a network such as 10.0.0.0/8. Raises ValueError."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text[:100]!r} is neither an address nor a network: {error}") from None


def is_loopback(host: str) -> bool:
    """Whether what listens on this address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"


def _canonical_origin(origin: bytes) -> str:
    """Empty when it is none; `null` is none: every sandboxed page has it."""
    matched = _ORIGIN.fullmatch(origin)
    authority = parse_authority(matched[2]) if matched is not None else None
    if matched is None or authority is None:
        return ""
    scheme = matched[1].decode().lower()
    port = authority.port
    is_default = port is None or port == _DEFAULT_PORTS[scheme]
    return f"{scheme}://{authority.host}" + ("" if is_default else f":{port}")


def _is_own(origin: bytes, own: Authority | None) -> bool:
    """Whether a page of this very server asks. It may have come by a proxy that speaks TLS."""
    if own is None:
        return False
    name = own.host if own.port is None else f"{own.host}:{own.port}"
    found = _canonical_origin(origin)
    ours = {_canonical_origin(f"{scheme}://{name}".encode()) for scheme in _DEFAULT_PORTS}
    return bool(found) and found in ours


def _cors_lines(origin: bytes, headers: Mapping[bytes, bytes]) -> Lines:
    """What a browser needs to hand the answer to the page; of a preflight, what it may send."""
    lines = [(b"Access-Control-Allow-Origin", origin), (b"Vary", b"Origin")]
    method = headers.get(b"access-control-request-method")
    if method is None:
        lines.append((b"Access-Control-Expose-Headers", b"X-Request-Id, Retry-After"))
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
