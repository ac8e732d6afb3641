"""A wire is a kept-alive connection that sends one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import monotonic_ns
from typing import Protocol, cast

import httptools

from rdv.load.generator.tally import Failed


def render_request(
    method: str,
    target: str,
    host: str,
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (("Content-Type", "application/json"),),
) -> bytes:
    """Return the bytes of a request. Render each once, before the run, and send it many times."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Owner(Protocol):
    """The interface of the generator to its connections."""

    def done(self, wire: Wire, status: int, body: bytes, now_ns: int) -> None: ...
    def ended(self, wire: Wire, reason: Failed) -> None: ...


class Wire(asyncio.Protocol):
    """Implements a connection of the generator.

    `number` is -1 while it is idle. Loop's thread only.
    """

    __slots__ = (
        "_body", "_complete", "_owner", "_parser", "_rest", "due_ns", "number", "reusable",
        "sent_ns", "transport",
    )  # fmt: skip

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self._rest: list[bytes] = []
        self._complete = False
        self.transport: asyncio.Transport | None = None
        self.number = -1
        self.due_ns = 0
        self.sent_ns = 0
        self.reusable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, number: int, request: bytes, due_ns: int) -> None:
        """Send a request that was due at `due_ns`; the wire must be idle."""
        assert self.transport is not None
        self.number = number
        self.due_ns = due_ns
        self.sent_ns = monotonic_ns()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        now_ns = monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._give_up("garbage")
            return
        if self._complete:
            self._complete = False
            body = b"".join((self._body, *self._rest)) if self._rest else self._body
            self._body = b""
            self._rest.clear()
            if self.number < 0:  # an answer without a request
                self._give_up("garbage")
                return
            self._owner.done(self, self._parser.get_status_code(), body, now_ns)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - all are alike
        self.transport = None
        self._owner.ended(self, "lost")

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _give_up(self, reason: Failed) -> None:
        self._owner.ended(self, reason)
        self.close()

    # Callbacks of httptools.

    def on_body(self, body: bytes) -> None:
        if self._body:
            self._rest.append(body)
        else:
            self._body = body

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:  # noqa: PLR2004 - 100 Continue: not the answer
            return
        self._complete = True
        self.reusable = self._parser.should_keep_alive()
