"""One server: its addresses, its connections, which are kept and bounded, and its breaker.

For one thread; names are resolved in another one, so that a slow resolver holds up nothing.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Sequence

from rdv.models.remote.breaker import Breaker
from rdv.models.remote.connection import Address, Connection, ConnectionFailed
from rdv.models.remote.settings import Place, is_numeric

RESOLVED_NS = 30_000_000_000
"""How long a name's addresses are used before it is resolved again."""
CONNECTIONS_KEPT = 16
"""The most idle connections that are kept."""


class Replica:
    """Opens and keeps connections to one server."""

    def __init__(self, place: Place, ca_file: str, bytes_max: int, breaker: Breaker) -> None:
        """Raises OSError, ssl.SSLError for a `ca_file` that cannot be used."""
        self.place = place
        self.breaker = breaker
        self._bytes_max = bytes_max
        self._context = ssl.create_default_context(cafile=ca_file or None) if place.is_tls else None
        self._idle: list[Connection] = []
        self._addresses: list[Address] = []
        self._why = "its name has not been resolved yet"
        self._resolved_ns = 0
        self._resolver: threading.Thread | None = None

    def look_up(self, now_ns: int, timeout_s: float) -> None:
        """Look up the addresses, and wait for them for a limited time."""
        self._refresh(now_ns)
        if self._resolver is not None:
            self._resolver.join(timeout_s)

    def _resolve(self) -> None:
        place = self.place
        try:
            found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            text = getattr(error, "strerror", None) or str(error)
            self._why = f"the name {place.host} cannot be resolved: {text}"
            return
        self._addresses = [(family, address) for family, _, _, _, address in found]

    def _refresh(self, now_ns: int) -> None:
        """Resolve the name again in another thread, when it is due."""
        if self._addresses and (
            is_numeric(self.place.host) or now_ns - self._resolved_ns < RESOLVED_NS
        ):
            return
        if self._resolver is not None and self._resolver.is_alive():
            return
        self._resolved_ns = now_ns
        self._resolver = threading.Thread(target=self._resolve, name="rdv-resolver", daemon=True)
        self._resolver.start()

    def connection(self, now_ns: int) -> Connection:
        """Return a kept connection, or begin a new one. Raises ConnectionFailed."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_idle_ended():
                return connection
            connection.close()
        return self.new_connection(now_ns)

    def new_connection(self, now_ns: int) -> Connection:
        """Begin a new connection. Raises ConnectionFailed."""
        self._refresh(now_ns)
        if not self._addresses:
            raise ConnectionFailed(self._why)
        return Connection(self._addresses, self.place.host, self._context, self._bytes_max)

    def keep(self, connection: Connection) -> None:
        """Keep a connection whose exchange has ended, if it may be used again."""
        if connection.keeps_alive and len(self._idle) < CONNECTIONS_KEPT:
            self._idle.append(connection)
        else:
            connection.close()

    def connecting_failed(self, connection: Connection) -> None:
        """Try another address first the next time, when this one did not answer at all."""
        if not connection.is_connected and len(self._addresses) > 1:
            self._addresses = [*self._addresses[1:], self._addresses[0]]

    def close(self) -> None:
        for connection in self._idle:
            with contextlib.suppress(OSError):
                connection.close()
        self._idle.clear()


def message(
    place: Place, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes = b""
) -> bytes:
    """Return a request as it goes over the connection. Pure."""
    target = place.path.rstrip("/") + path if path else place.path or "/"
    lines = [
        f"{method} {target}{place.query} HTTP/1.1",
        f"Host: {place.authority}",
        "User-Agent: rdv",
        "Accept: application/json",
        "Accept-Encoding: identity",
        *(f"{name}: {value}" for name, value in headers),
    ]
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
