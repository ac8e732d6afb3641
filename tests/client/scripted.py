"""A server on a socket that misbehaves as told, once for each connection that it accepts."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import orjson
from waiting import DEADLINE_S

ANSWER = {
    "id": "00ff", "result": {"score": 0.5}, "model": "gbm", "version": "1", "kind": "preferred",
    "reason": "", "code": "", "step": 1, "waited_ms": 1.5, "schedule": "production@1",
    "cohort": None, "answered_by": "server",
}  # fmt: skip


def reply(status: int, body: bytes, *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in headers)
    return b"HTTP/1.1 %d x\r\n%bContent-Length: %d\r\n\r\n%b" % (
        status, head.encode(), len(body), body,
    )  # fmt: skip


def fine(**changes: object) -> bytes:
    return reply(200, orjson.dumps({**ANSWER, **changes}))


def refusal(status: int, code: str, *headers: str) -> bytes:
    body = orjson.dumps({"error": {"code": code, "message": "it cannot"}})
    return reply(status, body, *headers)


class Scripted:
    """Plays one act for each request: bytes to send (None: close at once), or a function.

    The last act is played again and again. `requests` has the head and body of each request.
    """

    def __init__(self, *acts) -> None:
        self._acts = list(acts)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.requests: list[tuple[str, bytes]] = []
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self.stopped = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                connection.settimeout(DEADLINE_S)
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while self._read(connection):
                with self._lock:
                    act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
                if act is None:
                    return
                if callable(act):
                    act(connection, self.stopped)
                    return
                connection.sendall(act)

    def _read(self, connection: socket.socket) -> bool:
        got = b""
        while b"\r\n\r\n" not in got:
            if not (part := connection.recv(65536)):
                return False
            got += part
        head, _, body = got.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        while len(body) < length:
            body += connection.recv(65536)
        self.requests.append((head.decode(), body))
        return True

    def once_keys(self) -> list[str | None]:
        """Return the idempotency key of each request."""
        found = []
        for head, _ in self.requests:
            lines = [line for line in head.split("\r\n") if line.lower().startswith("idempotency")]
            found.append(lines[0].partition(": ")[2] if lines else None)
        return found

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._socket.close()
        for connection in self._open:
            connection.close()


def silent(connection: socket.socket, stopped: threading.Event) -> None:
    stopped.wait(DEADLINE_S)


def dripping(head: bytes):
    """Send `head`, then one more byte now and then, without end."""

    def act(connection: socket.socket, stopped: threading.Event) -> None:
        connection.sendall(head)
        while not stopped.wait(0.02):
            connection.sendall(b"x")

    return act
