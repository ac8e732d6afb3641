"""Serves one client connection: reads requests, answers in order, bounds the memory it may use."""

from __future__ import annotations

import asyncio
from typing import cast

from rdv.http import failure as fail
from rdv.http.ending import Ending
from rdv.http.failure import Failure
from rdv.http.forwarded import client_key
from rdv.http.head import request_id_lines
from rdv.http.hub import Hub
from rdv.http.limits import Limits
from rdv.http.request import Request, refused
from rdv.http.response import (
    CLOSE,
    CONTINUE,
    JSON,
    JSON_HEADS,
    LENGTHS,
    LENGTHS_MAX,
    has_body,
    head_parts,
)
from rdv.http.turns import DECOMPRESSED_NS, SMALL_BYTES, SMALL_NS, ClientTurn


class Connection(Ending):
    """Implements the asyncio protocol of one connection. Loop's thread only.

    A turn (`_advance`) reads requests until the pipeline is full or the client's time is over, and
    writes once. Reading pauses while `pipeline_max` requests wait for answers, while others are
    served first, or while the client does not read.
    """

    __slots__ = ("_dirty", "_held", "_last", "_out", "_pipeline_max", "_refused", "_turn", "turn")

    turn: ClientTurn

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self._pipeline_max = hub.limits.pipeline_max
        self._out: list[bytes] = []
        self._turn = False  # inside a turn, which writes at its end
        self._dirty = False  # in the hub's list
        self._held = 0  # bytes of incomplete requests that are counted
        self._refused = False
        self._last = False  # the answer with `Connection: close` has been rendered

    def change_limits(self, limits: Limits) -> None:
        """Apply these limits to everything that begins from now on."""
        self._reader.change_limits(limits)
        self._timeouts.change_limits(limits)
        self._pipeline_max = limits.pipeline_max

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        hub, limits = self._hub, self._hub.limits
        hub.counters.connections_opened += 1
        name = self._transport.get_extra_info("peername")
        self.peer = str(name[0]) if isinstance(name, tuple) and name else ""
        self.client = client_key(self.peer)
        self.is_trusted = hub.access.trusts(self.peer)
        # The connections of a trusted proxy carry many clients: each has its own turn.
        self.turn = ClientTurn() if self.is_trusted else hub.turns.enter(self.client)
        self._timeouts.begin(self, self._transport)
        if not hub.draining and hub.places.enter(self, hub.now_ns()):
            hub.connections.add(self)
            return
        hub.counters.connections_refused += 1
        if len(hub.refused) >= limits.refusals_max:
            self._transport.abort()
            return
        hub.refused.add(self)
        self.refuse(fail.too_many_connections(limits.connections_max))

    def data_received(self, data: bytes) -> None:
        timeouts = self._timeouts
        if timeouts.linger_ns:
            return
        hub = self._hub
        timeouts.active_ns = now_ns = hub.now_ns()
        if now_ns >= hub.date.due_ns:
            hub.tick()
        self._reader.feed(data)
        self._advance(now_ns)

    def eof_received(self) -> bool:
        self._eof = True
        self._ends()
        if self._timeouts.linger_ns or self._nothing_follows():
            self._close()
        else:
            self._wait(self._hub.tick())
        return True

    def pause_writing(self) -> None:
        self._timeouts.stall()
        self._adjust_reading()

    def resume_writing(self) -> None:
        self._timeouts.stalled_ns = 0
        self._continue_soon()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - all are alike
        self._timeouts.end()
        self._forget()
        self._out.clear()
        self._hold(0)
        self._hub.hangups.forget(self)
        self._transport = None
        self._hub.turns.leave(self.client, self.turn)
        self._hub.closed(self)

    # Called by requests, the hub and `_timeouts`.

    def answered(self, request: Request) -> None:
        """Render the answer of `request`, once the requests before it have theirs."""
        if self._pending[0] is request:  # a request with a carrier is always in `_pending`
            self._render()
            if self._turn:
                return
            if self._pending or self._reader.more or self._dirty:
                self._continue_soon()
            else:  # no other answer is outstanding, so there is no reason to wait
                self.flush(self._hub.now_ns())
        else:  # it waits behind other requests, and its body is no longer needed
            request.body = b""

    def go_on(self, now_ns: int) -> None:
        """Serve what has come while other clients were served."""
        self._waits = False
        if self._transport is not None:
            self._timeouts.active_ns = now_ns
            self._advance(now_ns)

    def flush(self, now_ns: int) -> None:
        self._dirty = False
        if self._transport is not None:
            self._timeouts.active_ns = now_ns
            self._advance(now_ns)

    def refuse(self, failure: Failure) -> None:
        """Send the outstanding answers, then this failure, then end."""
        self._reader.end(failure)
        self._advance(self._hub.tick())

    def give_up(self, failure: Failure) -> None:
        """Answer the first pending request in place of the application, and end."""
        forgotten = self._pending[0]
        self._pending[0] = refused(forgotten.head.refusal(failure))
        forgotten.carrier = None
        self._hub.departures.gone(forgotten)
        self._render()
        self.flush(self._hub.tick())

    def forget_head(self) -> None:
        """Check the heads and the peer again, by the present access rules."""
        self.is_trusted = self._hub.access.trusts(self.peer)
        self._reader.forget_head()

    # The turn reads and dispatches as far as the pipeline goes, then writes once.

    def _advance(self, now_ns: int) -> None:
        self._turn = True
        hub, reader, pending, timeouts = self._hub, self._reader, self._pending, self._timeouts
        turn, most = self.turn, self._pipeline_max
        left = most  # then the answers are written: does the client read them?
        if timeouts.stalled_ns or self._waits:
            most = 0
        while reader.more and len(pending) < most:
            if left <= 0 or (turn.left_ns <= 0 and not turn.may_go_on(now_ns)):
                self._waits = True
                hub.turns.wait(turn, self)
                break
            request = reader.next(now_ns)
            if request is None:
                break
            request.carrier = self
            pending.append(request)
            hub.counters.requests += 1
            is_large = len(request.body) > SMALL_BYTES
            begun_ns = hub.now_ns() - _decompressing_ns(request) if is_large else 0
            try:
                hub.application(request)
            except Exception as error:  # noqa: BLE001 - one request must not end the server
                self._application_failed(request, error)
            turn.left_ns -= hub.now_ns() - begun_ns if begun_ns else SMALL_NS
            left -= 1
        if reader.failure is not None and not self._refused:
            self._refused = True
            hub.counters.refusals += 1
            pending.append(refused(reader.failure))
            self._render()
        self._turn = False
        out = self._out
        if out:
            transport = self._transport
            if transport is None or timeouts.stalled_ns or self._last or self._eof:
                self._write()
            else:
                transport.write(b"".join(out))
                out.clear()
        if pending or reader.more or timeouts.paused or self._held:
            self._wait(now_ns)

    def _continue_soon(self) -> None:
        """Schedule another turn at the end of the loop's turn, for answers or unread bytes."""
        if not self._dirty:
            self._dirty = True
            self._hub.flush_soon(self)

    def _application_failed(self, request: Request, error: Exception) -> None:
        hub = self._hub
        hub.counters.application_errors += 1
        context = {"message": f"the application failed on {request!r}", "exception": error}
        hub.loop.call_exception_handler(context)
        if request.answer is None:
            lines = request_id_lines(request.headers.items())
            request.fail(fail.internal_error().said_at(request.target).with_headers(lines))

    def _render(self) -> None:
        pending, out, hub = self._pending, self._out, self._hub
        while pending and (answer := pending[0].answer) is not None:
            request = pending.popleft()
            request.carrier = None
            head = request.head
            status, body, content_type, headers = answer
            if head.plain and not (headers or hub.draining) and content_type is JSON:
                start = JSON_HEADS.get(status)
                if start is not None:
                    length = len(body)
                    size = LENGTHS[length] if length < LENGTHS_MAX else b"%d\r\n" % length
                    out += (start, size, hub.date.ending, body)
                    continue
            if head.cors:
                headers = (*headers, *head.cors)
            line = head.connection_line
            if not head.keep_alive or (hub.draining and self._nothing_follows()):
                line = CLOSE
                self._last = True
            out += head_parts(status, len(body), content_type, headers, hub.date.line, line)
            if head.method != "HEAD" and has_body(status):
                out.append(body)
            if self._last:
                self._forget()

    def _send_rendered(self) -> None:
        transport = self._transport
        if self._out and transport is not None and not transport.is_closing():
            transport.write(b"".join(self._out))
            self._out.clear()

    def _write(self) -> None:
        transport = self._transport
        if transport is None:
            return
        # The answers of one turn may exceed the limit, so that any single answer can be sent.
        if (
            self._timeouts.stalled_ns
            and transport.get_write_buffer_size() > self._hub.limits.write_buffer_bytes_max
        ):
            self.abort()
            return
        transport.write(b"".join(self._out))
        self._out.clear()
        if self._last:
            self._finish(transport)
        elif self._eof and self._nothing_follows():
            self._close()

    def _wait(self, now_ns: int) -> None:
        """Apply the limits to what is still under way after this turn."""
        self._adjust_reading()
        if self._ending:
            self._ends()
        if self._held or self._reader.more:
            self._hold(self._reader.held_bytes if self._reader.more else 0)
        transport = self._transport
        if transport is not None and not self._pending and self._reader.take_continue():
            transport.write(CONTINUE)
        if self._eof and self._reader.more and not (self._timeouts.paused or self._dirty):
            self.refuse(fail.truncated())  # behind the outstanding answers
        else:
            self._timeouts.watch(now_ns)

    def _hold(self, count: int) -> None:
        """Account for `count` bytes of incomplete requests; refuse the client beyond its share."""
        partial, more = self._hub.partial, count - self._held
        if more > 0:
            is_fine = (
                partial.has_room(more) if self.is_trusted else partial.admits(self.client, more)
            )
            if not is_fine:
                self.refuse(fail.too_many_bytes(partial.limit))
                return
            partial.take(self.client, more)
        elif more < 0:
            partial.give(self.client, -more)
        self._held = count

    def _adjust_reading(self) -> None:
        transport, timeouts = self._transport, self._timeouts
        if transport is None or transport.is_closing():
            return
        full = len(self._pending) >= self._pipeline_max or timeouts.stalled_ns != 0
        pause = (full or self._waits) and not timeouts.linger_ns
        if pause and not timeouts.paused:
            timeouts.paused = True
            transport.pause_reading()
            self._watch_hang_up()
        elif timeouts.paused and not pause:
            timeouts.paused = False
            self._reader.stage_ns = 0  # the client could not send more while reading was paused
            transport.resume_reading()
            if not self._ending:
                self._hub.hangups.forget(self)


def _decompressing_ns(request: Request) -> int:
    """Return how long the body took to decompress, about: that is also its client's time."""
    return DECOMPRESSED_NS * len(request.body) if request.head.coding else 0
