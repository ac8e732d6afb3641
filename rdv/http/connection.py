"""One client: requests in, answers out in their order, and a limit on everything it may hold."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

from rdv.http import failure as fail
from rdv.http.failure import Failure
from rdv.http.hub import Hub
from rdv.http.patience import Patience
from rdv.http.reader import Bytes, RequestReader
from rdv.http.request import Request, refused
from rdv.http.response import CLOSE, CONTINUE, has_body, head_parts

FEED_BYTES = 4096
"""Bytes are parsed in slices of this size, so that a large read full of tiny requests stops soon
after the pipeline is full."""


class Connection(asyncio.Protocol):
    """The protocol of one connection. Loop's thread only.

    Reading stops while `pipeline_max` requests wait for answers or the client does not read.
    A connection that is to end after a refusal lingers: a close with unread bytes would reset
    the connection and could take the refusal away from the client.
    """

    __slots__ = (
        "_dirty", "_eof", "_held", "_hub", "_last", "_out", "_patience", "_paused", "_pending",
        "_reader", "_refused", "_transport", "_turn",
    )  # fmt: skip

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._reader = RequestReader(hub.limits)
        self._pending: deque[Request] = deque()
        self._out: list[bytes] = []
        self._held: Bytes = b""
        self._transport: asyncio.Transport | None = None
        self._patience = Patience(hub, self._reader, self._pending)
        self._paused = False
        self._turn = False  # inside data_received or flush, which write at their end
        self._dirty = False  # in the hub's list
        self._eof = False
        self._refused = False
        self._last = False  # the answer with `Connection: close` has been rendered

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports do not derive from asyncio's.
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        hub, limits = self._hub, self._hub.limits
        hub.counters.connections_opened += 1
        self._patience.begin(self, transport)
        if len(hub.connections) < limits.connections_max and not hub.draining:
            hub.connections.add(self)
            return
        hub.counters.connections_refused += 1
        if len(hub.refused) >= limits.refusals_max:
            transport.abort()
            return
        hub.refused.add(self)
        self.refuse(fail.too_many_connections(limits.connections_max))

    def data_received(self, data: bytes) -> None:
        patience, reader = self._patience, self._reader
        if patience.linger_ns:
            return
        now_ns = self._hub.tick()
        patience.active_ns = now_ns
        self._turn = True
        if len(data) <= FEED_BYTES and not self._held:
            reader.feed(data, now_ns)
        else:
            self._held = memoryview(bytes(self._held) + data)
        self._advance(now_ns)

    def eof_received(self) -> bool:
        self._eof = True
        reader = self._reader
        if not self._patience.linger_ns and reader.midway:
            self.refuse(fail.truncated())  # behind the answers that are still owed
        elif not self._pending and not reader.ready and not self._held:
            self._close()
        return True

    def pause_writing(self) -> None:
        self._patience.stall()
        self._adjust_reading()

    def resume_writing(self) -> None:
        self._patience.stalled_ns = 0
        self._adjust_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - all are alike
        self._patience.end()
        self._reader.close()
        for request in (*self._pending, *self._reader.ready):
            request.carrier = None
        self._pending.clear()
        self._reader.ready.clear()
        self._out.clear()
        self._held = b""
        self._last = True
        self._transport = None
        self._hub.closed(self)

    # What requests, the hub and our patience call.

    def answered(self, request: Request) -> None:
        """`request` has its answer; it is rendered when it is the turn of its request."""
        pending = self._pending
        if pending and pending[0] is request:
            self._render()
            if not self._turn and not self._dirty:
                self._dirty = True
                self._hub.flush_soon(self)

    def flush(self, now_ns: int) -> None:
        self._dirty = False
        if self._transport is not None:
            self._patience.active_ns = now_ns
            self._turn = True
            self._advance(now_ns)

    def refuse(self, failure: Failure) -> None:
        """Answer what is owed, then this, then end."""
        self._reader.close()
        self._held = b""
        self._reader.failure = failure
        self._turn = True
        self._advance(self._hub.tick())

    def give_up(self, failure: Failure) -> None:
        """The application did not answer the first pending request: answer for it, and end."""
        self._pending[0].carrier = None
        self._pending[0] = refused(failure)
        self._render()
        self.flush(self._hub.tick())

    def drain(self) -> None:
        """End as soon as nothing is owed (the hub is draining)."""
        if not self._pending and not self._reader.ready and not self._reader.midway:
            self._close()

    def abort(self) -> None:
        """End now; what has not been read by the client is lost."""
        if self._transport is not None:
            self._hub.counters.connections_aborted += 1
            self._transport.abort()

    # The turn: parse and dispatch as far as the pipeline goes, then write once.

    def _advance(self, now_ns: int) -> None:
        reader = self._reader
        if reader.ready:
            self._dispatch()
        while self._held and not reader.ready and len(self._pending) < self._hub.limits.pipeline_max:
            part, self._held = self._held[:FEED_BYTES], self._held[FEED_BYTES:]
            reader.feed(part, now_ns)
            self._dispatch()
            if reader.finished:
                self._held = b""
        if reader.failure is not None and not self._refused and not reader.ready:
            self._refused = True
            self._hub.counters.refusals += 1
            self._pending.append(refused(reader.failure))
            self._render()
        self._turn = False
        if self._out:
            self._write()
        if reader.continue_due and reader.midway and not self._pending and not self._last:
            reader.continue_due = False
            if self._transport is not None:
                self._transport.write(CONTINUE)
        self._adjust_reading()
        self._patience.watch(now_ns)

    def _dispatch(self) -> None:
        reader, pending, hub = self._reader, self._pending, self._hub
        ready, most = reader.ready, hub.limits.pipeline_max
        while ready and len(pending) < most and not self._last:
            request = ready.popleft()
            request.carrier = self
            pending.append(request)
            hub.counters.requests += 1
            try:
                hub.application(request)
            except Exception as error:  # noqa: BLE001 - one request must not end the server
                self._application_failed(request, error)

    def _application_failed(self, request: Request, error: Exception) -> None:
        self._hub.counters.application_errors += 1
        context = {"message": f"the application failed on {request!r}", "exception": error}
        self._hub.loop.call_exception_handler(context)
        if request.answer is None:
            request.fail(fail.internal_error())

    def _render(self) -> None:
        pending, out, date = self._pending, self._out, self._hub.date.line
        while pending and (answer := pending[0].answer) is not None:
            request = pending.popleft()
            request.carrier = None
            status, body, content_type, headers = answer
            line = request.connection_line
            if not request.keep_alive or (self._hub.draining and self._nothing_follows()):
                line = CLOSE
                self._last = True
            out += head_parts(status, len(body), content_type, headers, date, line)
            if body and request.method != "HEAD" and has_body(status):
                out.append(body)

    def _nothing_follows(self) -> bool:
        reader = self._reader
        return not (self._pending or reader.ready or reader.midway or self._held)

    def _write(self) -> None:
        transport = self._transport
        assert transport is not None
        if self._patience.stalled_ns:
            # One turn's answers may go beyond the limit, so that any single answer may be sent.
            if transport.get_write_buffer_size() > self._hub.limits.write_buffer_bytes_max:
                self.abort()
                return
        transport.write(b"".join(self._out))
        self._out.clear()
        if self._last:
            self._finish()
        elif self._eof and not self._pending and not self._reader.ready and not self._held:
            self._close()

    # The end.

    def _finish(self) -> None:
        if self._refused and not self._eof and self._transport is not None:
            self._transport.write_eof()
            self._patience.linger()
        else:
            self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._reader.close()
            self._transport.close()
            self._patience.closing()

    def idle_out(self) -> None:
        """Nothing came for too long: end without a word."""
        self._close()

    def _adjust_reading(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        patience = self._patience
        full = len(self._pending) >= self._hub.limits.pipeline_max or self._reader.ready
        pause = bool(full or self._held or patience.stalled_ns) and not patience.linger_ns
        if pause and not self._paused:
            self._paused = True
            transport.pause_reading()
        elif self._paused and not pause:
            self._paused = False
            self._reader.stage_ns = 0  # the client could not have sent any more meanwhile
            transport.resume_reading()
