"""Serve models over HTTP on a real socket, as well or as badly as a test wants."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

from waiting import DEADLINE_S

Behaviour = Callable[["Exchange"], None]


def http_answer(
    body: bytes, status: str = "200 OK", headers: tuple[str, ...] = (), version: str = "1.1"
) -> bytes:
    """Return a whole answer as bytes."""
    lines = [f"HTTP/{version} {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def predictions(*values: Any, **more: Any) -> bytes:
    return json.dumps({"predictions": list(values), **more}).encode()


class Exchange:
    """One request to the server, and the means to answer it."""

    def __init__(self, server: ModelServer, connection: socket.socket, head: str, body: bytes):
        self.server, self.connection, self.head, self.body = server, connection, head, body

    @property
    def rows(self) -> list[Any]:
        return json.loads(self.body)["rows"]

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall(data)

    def answer(self, body: bytes, status: str = "200 OK", headers: tuple[str, ...] = ()) -> None:
        self.send(http_answer(body, status, headers))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Wait until the client closes the connection, or the test ends."""
        with contextlib.suppress(OSError):
            while self.connection.recv(1024):
                pass


def scores(exchange: Exchange) -> None:
    """Answer as a good model: each row's "x", doubled."""
    exchange.answer(predictions(*(2 * row["x"] for row in exchange.rows)))


class ModelServer:
    """Listen on a free port; `behaviour` answers each request, and may be replaced."""

    def __init__(
        self,
        behaviour: Behaviour = scores,
        family: socket.AddressFamily = socket.AF_INET,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._context = context
        self.behaviour = behaviour
        self.asked: list[Exchange] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.socket(family)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]
        host = "[::1]" if family == socket.AF_INET6 else "127.0.0.1"
        self.url = f"http://{host}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                connection.settimeout(DEADLINE_S)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        if self._context is not None:
            try:
                connection = self._context.wrap_socket(connection, server_side=True)
            except OSError:
                return
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as source:
            while line := source.readline():
                head, length = line.decode(), 0
                while (line := source.readline()).strip():
                    head += line.decode()
                    name, _, value = line.decode().partition(":")
                    if name.lower() == "content-length":
                        length = int(value)
                exchange = Exchange(self, connection, head, source.read(length))
                self.asked.append(exchange)
                self.behaviour(exchange)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
