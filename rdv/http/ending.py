"""How a connection ends: drained, idle, evicted for another one, left by its client, or aborted."""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from collections import deque

from rdv.http import failure as fail
from rdv.http.failure import Failure
from rdv.http.hub import Hub
from rdv.http.reader import RequestReader
from rdv.http.request import Request
from rdv.http.timeouts import Timeouts


def has_unread(transport: asyncio.Transport) -> bool:
    """Return whether the client has sent unread bytes; False where that cannot be determined."""
    if transport.is_closing() or (socket := transport.get_extra_info("socket")) is None:
        return False
    try:
        count = fcntl.ioctl(socket.fileno(), termios.FIONREAD, b"\0\0\0\0")
    except OSError:
        return False
    return int.from_bytes(count, sys.byteorder) > 0


class Ending(asyncio.Protocol):
    """The half of a connection that ends it; `Connection` is the other one. Loop's thread only.

    After the last answer the connection lingers: a close with unread bytes would reset the
    connection, and the client could lose the answer.
    """

    __slots__ = (
        "_ending", "_eof", "_hub", "_pending", "_reader", "_timeouts", "_transport", "_waits",
        "client", "is_trusted", "peer",
    )  # fmt: skip

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._reader = RequestReader(hub.limits, hub.heads)
        self._pending: deque[Request] = deque()
        self._transport: asyncio.Transport | None = None
        self._timeouts = Timeouts(hub, self._reader, self._pending)
        self._waits = False  # for its client's next time to be served
        self._eof = False
        self._ending = False  # the client sends nothing more, but unread bytes may remain
        self.peer = ""
        self.client = ""
        self.is_trusted = False

    def refuse(self, failure: Failure) -> None:
        """Send the outstanding answers, then this failure, then end."""
        raise NotImplementedError

    def _send_rendered(self) -> None:
        """Write the answers that wait for the end of the loop's turn."""
        raise NotImplementedError

    def _adjust_reading(self) -> None:
        """Pause or resume reading, as the state of the connection requires."""
        raise NotImplementedError

    # Called by the hub and `_timeouts`.

    def hung_up(self, *, is_gone: bool) -> None:
        """Handle a client that has left while reading was paused."""
        if is_gone:
            self.abort()
        else:
            self._ends()

    def drain(self) -> None:
        """End as soon as no answer is outstanding; received requests are still answered."""
        transport = self._transport
        is_ending = transport is None or self._timeouts.linger_ns != 0
        if is_ending or self._pending or self._reader.more or self.has_unread():
            return
        assert transport is not None
        linger_ns = self._hub.limits.linger_ms * 1_000_000
        if self._hub.now_ns() - self._timeouts.active_ns < linger_ns:
            self._reader.end()
            self._finish(transport)  # the client may not have read its last answer yet
        else:
            self._close()

    def idle_out(self) -> None:
        """Close an idle connection without an answer.

        Bytes that came while the process was held up are a request like any other: closing now
        would reset the connection.
        """
        if self._waits or self.has_unread():
            self._timeouts.active_ns = self._hub.now_ns()
        else:
            self._close()

    def has_unread(self) -> bool:
        """Return whether bytes have come that the loop has not read."""
        return self._transport is not None and has_unread(self._transport)

    def abort(self) -> None:
        """End now; answers that the client has not read are lost."""
        if self._transport is not None:
            self._hub.counters.connections_aborted += 1
            self._transport.abort()

    # Called by `Places`.

    def idle_since_ns(self) -> int | None:
        """Return when the connection became idle; None while it is busy."""
        transport = self._transport
        if transport is None or self._pending or self._reader.more or self._timeouts.linger_ns:
            return None
        if transport.is_closing() or transport.get_write_buffer_size():
            return None
        return self._timeouts.active_ns

    def slow_since_ns(self) -> int | None:
        """Return since when the server waits for the client; None when it does not.

        It waits for the rest of a request, for the client to read, or for any sign that it is
        there.
        """
        transport, timeouts = self._transport, self._timeouts
        if transport is None:
            return None
        if timeouts.stalled_ns or timeouts.linger_ns or transport.is_closing() or self._ending:
            return timeouts.stalled_ns or timeouts.active_ns
        is_partial = self._reader.more and not timeouts.paused and not self._pending
        return (self._reader.stage_ns or timeouts.active_ns) if is_partial else None

    def give_way(self) -> None:
        """End, so that another connection gets the place; a client that still reads gets a 503."""
        hub = self._hub
        hub.counters.connections_evicted += 1
        hub.connections.discard(self)
        if self.idle_since_ns() is not None:
            self._close()
        elif (
            self._reader.more
            and not (self._timeouts.stalled_ns or self._timeouts.linger_ns or self._ending)
            and len(hub.refused) < hub.limits.refusals_max
        ):
            hub.refused.add(self)
            self.refuse(fail.too_many_connections(hub.limits.connections_max))
        else:
            self.abort()

    # Called by both halves.

    def _forget(self) -> None:
        """Drop all requests; answers that are still given to them are discarded."""
        self._reader.end()
        left = [request for request in self._pending if request.answer is None]
        for request in self._pending:
            request.carrier = None
        self._pending.clear()
        for request in left:
            self._hub.departures.gone(request)

    def _ends(self) -> None:
        """Note that the client sends nothing more; report its unanswered requests."""
        if not self._ending and self._pending:
            self._watch_hang_up()
        self._ending = True
        for request in list(self._pending):  # the program may answer some of them right here
            if request.answer is None:
                self._hub.departures.ending(request)

    def _nothing_follows(self) -> bool:
        return not self._pending and not self._reader.more

    def _finish(self, transport: asyncio.Transport) -> None:
        """Close the writing side, and give the client time to read before the connection closes."""
        if self._eof:
            self._close()
            return
        self._send_rendered()
        transport.write_eof()
        self._timeouts.linger()
        self._adjust_reading()

    def _close(self) -> None:
        if self._transport is not None:
            self._reader.end()
            self._send_rendered()
            self._transport.close()
            self._timeouts.closing()

    def _watch_hang_up(self) -> None:
        """Reading is paused: have epoll report when the client leaves."""
        assert self._transport is not None
        socket = self._transport.get_extra_info("socket")
        self._hub.hangups.watch(self, -1 if socket is None else socket.fileno())
