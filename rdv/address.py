"""Addresses are written as in URLs: an IPv6 address has brackets around it."""

from __future__ import annotations

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  not bound


def host_port(host: str, port: int) -> str:
    """Return `host:port` as in a URL, a Host header and a message: `[::1]:8100`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable_host(host: str) -> str:
    """Return the host at which a client on this machine reaches a server that listens on `host`."""
    return _EVERYWHERE.get(host, host)
