"""Run an HTTP server in a thread, and clients that are plain sockets."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import struct
import threading
from dataclasses import dataclass

import uvloop

from rdv.http import HttpServer, Limits, Router

DEADLINE_S = 10.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def code(self) -> str:
        return json.loads(self.body)["error"]["code"]


def post(body: bytes = b"abc", target: bytes = b"/echo", extra: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: t\r\n%bContent-Length: %d\r\n\r\n%b" % (
        target,
        extra,
        len(body),
        body,
    )


class Client:
    """A client uses a raw connection; each of its waits has a timeout."""

    def __init__(self, port, receive_buffer=None, source=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            self.socket.bind((source, 0))
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def more(self):
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def answer(self, *, head_only=False):
        """Read the next answer; one with status 1xx counts as an answer."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.more():
                raise EOFError(self.buffer)
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        line, *rest = head.split(b"\r\n")
        headers = {k.lower(): v for k, v in (one.split(b": ", 1) for one in rest)}
        length = 0 if head_only else int(headers.get(b"content-length", 0))
        while len(self.buffer) < length:
            if not self.more():
                raise EOFError(self.buffer)
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Answer(int(line.split(b" ")[1]), headers, body)

    def ends(self):
        """Return whether the server closes the connection without sending anything more."""
        try:
            while self.more():
                pass
        except ConnectionResetError:
            pass
        return self.buffer == b""


class WebServer:
    """Run an HttpServer on a loop in a thread. `held` receives the requests to /later."""

    def __init__(self, kind="uvloop", limits=None, application=None):
        self.held = queue.Queue()
        routes = {
            "/echo": {"POST": lambda r: r.respond(200, r.body)},
            "/get": {"GET": lambda r: r.respond(200, json.dumps([r.path, r.query]).encode())},
            "/later": {"POST": self.held.put, "GET": self.held.put},
            "/big": {"GET": lambda r: r.respond(200, b"x" * 1_000_000)},
            "/fails": {"GET": lambda _: 1 / 0},
        }
        self.errors = []
        self.loop = uvloop.new_event_loop() if kind == "uvloop" else asyncio.SelectorEventLoop()
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.server = self.make_server(application or Router(routes), limits or Limits())
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        _, self.port = self.run(self.server.start("127.0.0.1", 0))

    def make_server(self, application, limits):
        return HttpServer(application, limits)

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(DEADLINE_S)

    def call(self, function, *arguments):
        async def inside():
            return function(*arguments)

        return self.run(inside())

    def later(self):
        return self.held.get(timeout=DEADLINE_S)

    def client(self, **options):
        return Client(self.port, **options)

    def ask(self, data):
        """Send `data` on a new connection; return the answer."""
        with self.client() as client:
            client.send(data)
            return client.answer()

    def stop(self):
        self.run(self.server.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(DEADLINE_S)
        self.loop.close()
