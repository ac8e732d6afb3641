"""Identifies clients: by their address, or by what a trusted proxy says (RFC 7239). Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_V4_WITH_PORT = re.compile(r"([0-9.]+)(?::[0-9]{1,5})?")
_V6_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR = re.compile(rf'[ \t]*({_WORD})=({_WORD}|"(?:[^"\\]|\\.)*")[ \t]*')
_SITE_BITS = 64
"""The prefix length for IPv6: a client with one address has all others of that network."""


def client_key(address: str) -> str:
    """Return the key that all connections of one client share: its IPv4 address or IPv6 /64.

    An address that cannot be parsed is its own key.
    """
    if ":" not in address:
        return address
    found = _address(address)
    return _key(found) if found is not None else address


def is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    """Return whether an address belongs to one of the networks."""
    found = _address(address)
    return found is not None and any(found in network for network in trusted)


def forwarded_client(headers: Mapping[bytes, bytes], trusted: tuple[Network, ...]) -> str:
    """Return the key of the client that X-Forwarded-For or Forwarded name; empty if they do not.

    The headers are read from the right, where the nearest proxy has written, past trusted
    addresses. The first other address is the client; the client itself may have written anything
    further left. If the two headers disagree, the client has forged one of them, so neither counts.
    """
    found = {
        _outermost(hops, trusted)
        for name, read in ((b"x-forwarded-for", _listed), (b"forwarded", _forwarded))
        if (hops := read(headers.get(name, b"").decode("latin-1")))
    }
    return found.pop() if len(found) == 1 else ""


def _outermost(hops: list[str], trusted: tuple[Network, ...]) -> str:
    """Return the key of the first untrusted hop from the right; empty when it is unknown."""
    address: _Address | None = None
    for hop in reversed(hops):
        address = _hop_address(hop)
        if address is None or not any(address in network for network in trusted):
            break
    return "" if address is None else _key(address)


def _listed(text: str) -> list[str]:
    return [hop.strip(" \t") for hop in text.split(",")] if text else []


def _forwarded(text: str) -> list[str]:
    """Return the `for` of each element; empty for an element without one or that is malformed."""
    if not text:
        return []
    hops: list[str] = [""]
    at = 0
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None or (pair.end() < len(text) and text[pair.end()] not in ",;"):
            # The rest of the element cannot be parsed: only what is right of it counts.
            comma = text.find(",", at)
            hops[-1] = ""
            if comma < 0:
                break
            hops.append("")
            at = comma + 1
            continue
        if pair[1].lower() == "for":
            hops[-1] = pair[2].strip('"')
        if text[pair.end() : pair.end() + 1] == ",":
            hops.append("")
        at = pair.end() + 1
    return hops


def _hop_address(hop: str) -> _Address | None:
    """Parse `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`; None for others."""
    for pattern in (_V4_WITH_PORT, _V6_WITH_PORT):
        if matched := pattern.fullmatch(hop):
            return _address(matched[1])
    return _address(hop)


def _address(text: str) -> _Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _key(address: _Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((address, _SITE_BITS), strict=False))
