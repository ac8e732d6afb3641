"""How long a connection is waited for, in each of its states."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from rdv.http import failure as fail
from rdv.http.failure import Failure
from rdv.http.hub import Hub
from rdv.http.reader import RequestReader
from rdv.http.request import Request
from rdv.http.timer import LazyTimer

_MS = 1_000_000


class Waited(Protocol):
    """The connection: what is done to it when patience ends."""

    def refuse(self, failure: Failure) -> None: ...
    def give_up(self, failure: Failure) -> None: ...
    def idle_out(self) -> None: ...
    def abort(self) -> None: ...


class Patience:
    """All deadlines of one connection behind one lazy timer. Loop's thread only. Times in ns."""

    __slots__ = (
        "_closing", "_connection", "_hub", "_opened_ns", "_pending", "_reader", "_stalled_bytes",
        "_timer", "_transport", "active_ns", "linger_ns", "stalled_ns",
    )  # fmt: skip

    def __init__(self, hub: Hub, reader: RequestReader, pending: deque[Request]) -> None:
        self._hub = hub
        self._reader = reader
        self._pending = pending
        self._timer = LazyTimer(hub.loop, hub.now_ns, self._expired)
        self._connection: Waited | None = None
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self._stalled_bytes = 0
        self._opened_ns = self.active_ns = hub.now_ns()
        """active_ns: when the client or we last had something to say."""
        self.stalled_ns = 0
        """Since when the client takes nothing; 0 when it does."""
        self.linger_ns = 0
        """Until when what comes is discarded; 0 when we listen."""

    def begin(self, connection: Waited, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport
        self._timer.arm(self._opened_ns + self._hub.limits.client_timeout_ms * _MS)

    def watch(self, now_ns: int) -> None:
        """Called at the end of each turn: hot, so only what may be due soonest is armed."""
        limits, reader = self._hub.limits, self._reader
        if reader.midway:
            if not reader.stage_ns:
                reader.stage_ns = now_ns
            wait_ms = limits.client_timeout_ms
        elif self._pending:
            wait_ms = limits.answer_timeout_ms
        else:
            wait_ms = limits.keep_alive_ms
        due_ns = now_ns + wait_ms * _MS
        if due_ns < self._timer.due_ns:
            self._timer.arm(due_ns)

    def stall(self) -> None:
        """The client has stopped taking what we write."""
        assert self._transport is not None
        self.stalled_ns = self._hub.now_ns()
        self._stalled_bytes = self._transport.get_write_buffer_size()
        self._timer.arm(self.stalled_ns + self._hub.limits.write_timeout_ms * _MS)

    def linger(self) -> None:
        """From now on what comes is discarded, for a while."""
        self.linger_ns = self._hub.now_ns() + self._hub.limits.linger_ms * _MS
        self._timer.arm(self.linger_ns)

    def closing(self) -> None:
        """The transport closes once it is empty: that has its limit, too."""
        self._closing = True
        if not self.stalled_ns:
            self.stall()

    def end(self) -> None:
        self._timer.cancel()
        self._connection = self._transport = None

    def _expired(self, now_ns: int) -> int | None:
        connection = self._connection
        if connection is None:
            return None
        due_ns, act = self._next(connection)
        if due_ns > now_ns:
            return due_ns
        act()
        return None if self._connection is None else max(self._next(connection)[0], now_ns + _MS)

    def _next(self, connection: Waited) -> tuple[int, Callable[[], None]]:
        limits, reader, pending = self._hub.limits, self._reader, self._pending
        if self.stalled_ns:
            return self.stalled_ns + limits.write_timeout_ms * _MS, self._stalled
        if self.linger_ns:
            return self.linger_ns, connection.abort
        idle_ms = limits.keep_alive_ms
        if self.active_ns == self._opened_ns:
            idle_ms = limits.client_timeout_ms
        due_ns = self.active_ns + idle_ms * _MS
        act = connection.idle_out
        if pending:
            due_ns = pending[0].received_ns + limits.answer_timeout_ms * _MS
            act = self._not_answered
        if reader.midway and reader.stage_ns:
            slow_ns = reader.stage_ns + limits.client_timeout_ms * _MS
            if slow_ns < due_ns or not pending:
                return slow_ns, self._too_slow
        return due_ns, act

    def _stalled(self) -> None:
        assert self._transport is not None
        assert self._connection is not None
        waiting = self._transport.get_write_buffer_size()
        if waiting < self._stalled_bytes:  # slow, but it reads
            self._stalled_bytes = waiting
            self.stalled_ns = self._hub.now_ns()
        else:
            self._connection.abort()

    def _too_slow(self) -> None:
        assert self._connection is not None
        self._hub.counters.timeouts += 1
        part = "body" if self._reader.in_body else "head"
        self._connection.refuse(fail.too_slow(part, self._hub.limits.client_timeout_ms))

    def _not_answered(self) -> None:
        assert self._connection is not None
        self._hub.counters.timeouts += 1
        self._connection.give_up(fail.not_answered(self._hub.limits.answer_timeout_ms))
