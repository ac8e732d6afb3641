"""Parses hosts and ports as in a Host header or an http URI (RFC 9110 and 3986). Pure.

Addresses are written as in URLs: an IPv6 address has brackets around it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

PORT_MAX = 65_535
_AUTHORITY = re.compile(
    rb"(?:\[(?P<literal>[0-9A-Fa-fvV:.]+)\]"
    rb"|(?P<name>(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+))"
    rb"(?::(?P<port>[0-9]{0,5}))?"
)


_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  not bound


class Authority(NamedTuple):
    """Holds a host in canonical form, and the port if one is given."""

    host: str
    """In lower case, without a final dot; an IPv6 address is in brackets, in its shortest form."""
    port: int | None


def parse_authority(text: bytes) -> Authority | None:
    """Parse `host`, `host:port` or `[address]:port`; return None for anything else.

    A comma is refused although RFC 3986 allows it in a name, because two Host headers that were
    joined on the way look like that; so is a name that ends in an empty label ("host..").
    """
    matched = _AUTHORITY.fullmatch(text)
    if matched is None:
        return None
    literal, name, digits = matched.groups()
    port = int(digits) if digits else None
    if port is not None and not 0 < port <= PORT_MAX:
        return None
    if literal is None:
        host = name.decode().lower().removesuffix(".")
        return Authority(host, port) if host and not host.endswith(".") else None
    try:
        return Authority(f"[{ipaddress.IPv6Address(literal.decode())}]", port)
    except ValueError:
        return None


def host_port(host: str, port: int) -> str:
    """Return `host:port` as in a URL, a Host header and a message: `[::1]:8100`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable_host(host: str) -> str:
    """Return the host at which a client on this machine reaches a server that listens on `host`."""
    return _EVERYWHERE.get(host, host)
