"""Gives a connection a timeout for each of its states.

The deadline of a lazy timer moves with every request; moving it away costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from rdv.http import failure as fail
from rdv.http.failure import Failure
from rdv.http.hub import Hub
from rdv.http.limits import Limits
from rdv.http.reader import RequestReader
from rdv.http.request import Request

_NEVER = 2**63
_MS = 1_000_000


class LazyTimer:
    """Uses one timer of the loop, which is only moved to earlier times.

    When it fires, `expired(now_ns)` checks what is due and returns the next time to check, or None.
    A deadline that only moves away (each request postpones the idle timeout) therefore needs no
    call of the loop at all. Loop's thread only.
    """

    __slots__ = ("_expired", "_handle", "_loop", "_now_ns", "due_ns")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        now_ns: Callable[[], int],
        expired: Callable[[int], int | None],
    ) -> None:
        self._loop = loop
        self._now_ns = now_ns
        self._expired: Callable[[int], int | None] | None = expired
        self._handle: asyncio.TimerHandle | None = None
        self.due_ns = _NEVER
        """When it fires. Hot callers compare with this before they call `arm`."""

    def arm(self, at_ns: int) -> None:
        """Fire no later than `at_ns` (to the loop's millisecond)."""
        if at_ns >= self.due_ns or self._expired is None:
            return
        if self._handle is not None:
            self._handle.cancel()
        self.due_ns = at_ns
        # Rounded up: the loop's clock is coarser than ours, and an early timer fires twice.
        delay_ms = max(0, at_ns - self._now_ns()) // _MS + 1
        self._handle = self._loop.call_later(delay_ms / 1000, self._fire)

    def cancel(self) -> None:
        """Stop the timer for good."""
        self._expired = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self.due_ns = _NEVER
        if self._expired is None:
            return
        again = self._expired(self._now_ns())
        if again is not None:
            self.arm(again)


class Waited(Protocol):
    """The interface of a connection: the actions for its timeouts."""

    def refuse(self, failure: Failure) -> None: ...
    def give_up(self, failure: Failure) -> None: ...
    def idle_out(self) -> None: ...
    def abort(self) -> None: ...


class Timeouts:
    """Manages a connection's deadlines with one lazy timer. Loop's thread only. Times in ns."""

    __slots__ = (
        "_connection", "_hub", "_limits", "_opened_ns", "_pending", "_reader", "_stalled_bytes",
        "_timer", "_transport", "active_ns", "linger_ns", "paused", "stalled_ns",
    )  # fmt: skip

    def __init__(self, hub: Hub, reader: RequestReader, pending: deque[Request]) -> None:
        self._hub = hub
        self._limits = hub.limits
        self._reader = reader
        self._pending = pending
        self._timer = LazyTimer(hub.loop, hub.now_ns, self._expired)
        self._connection: Waited | None = None
        self._transport: asyncio.Transport | None = None
        self._stalled_bytes = 0
        self.paused = False
        """Reading from the client is paused."""
        self._opened_ns = self.active_ns = hub.now_ns()
        """active_ns: the time of the last activity of the client or the server."""
        self.stalled_ns = 0
        """Since when the client reads nothing; 0 while it reads."""
        self.linger_ns = 0
        """Until when received bytes are discarded; 0 when the connection does not linger."""

    def begin(self, connection: Waited, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport
        wait_ms = min(self._limits.client_timeout_ms, self._limits.keep_alive_ms)
        self._timer.arm(self._opened_ns + wait_ms * _MS)

    def watch(self, now_ns: int) -> None:
        """Arm the timer at the end of a turn that leaves a partial request or an unanswered one.

        An idle connection needs no call: the timer is always armed, at most `keep_alive_ms` ahead.
        """
        wait_ms = self._limits.answer_timeout_ms
        if self._reader.more and not self.paused:
            if not self._reader.stage_ns:
                self._reader.stage_ns = now_ns
            wait_ms = min(wait_ms, self._limits.client_timeout_ms)
        due_ns = now_ns + wait_ms * _MS
        if due_ns < self._timer.due_ns:
            self._timer.arm(due_ns)

    def stall(self) -> None:
        """Start the write timeout: the client has stopped reading."""
        assert self._transport is not None
        self.stalled_ns = self._hub.now_ns()
        self._stalled_bytes = self._transport.get_write_buffer_size()
        self._timer.arm(self.stalled_ns + self._limits.write_timeout_ms * _MS)

    def linger(self) -> None:
        """Start the linger time, in which received bytes are discarded."""
        self.linger_ns = self._hub.now_ns() + self._limits.linger_ms * _MS
        self._timer.arm(self.linger_ns)

    def change_limits(self, limits: Limits) -> None:
        """Apply other limits; a shorter timeout counts from when the wait began."""
        self._limits = limits
        if self._connection is not None:
            self._timer.arm(self._next(self._connection)[0])

    def closing(self) -> None:
        """Limit the time in which the transport empties its buffer and closes."""
        if not self.stalled_ns:
            self.stall()

    def end(self) -> None:
        self._timer.cancel()
        self._connection = self._transport = None

    def _expired(self, now_ns: int) -> int | None:
        if self._connection is None:
            return None
        due_ns, act = self._next(self._connection)
        if due_ns <= now_ns:
            act()
            if self._transport is None:
                return None
            due_ns, _ = self._next(self._connection)
        return min(max(due_ns, now_ns + _MS), now_ns + self._limits.keep_alive_ms * _MS)

    def _next(self, connection: Waited) -> tuple[int, Callable[[], None]]:
        """Return the next deadline, and the action for it."""
        limits, reader, pending = self._limits, self._reader, self._pending
        if self.stalled_ns:
            return self.stalled_ns + limits.write_timeout_ms * _MS, self._stalled
        if self.linger_ns:
            return self.linger_ns, self._lingered
        dues: list[tuple[int, Callable[[], None]]] = []
        if pending:
            answer_ns = pending[0].received_ns + limits.answer_timeout_ms * _MS
            dues.append((answer_ns, self._not_answered))
        if reader.more and not self.paused and reader.stage_ns:
            dues.append((reader.stage_ns + limits.client_timeout_ms * _MS, self._too_slow))
        if not dues:
            silent = self.active_ns == self._opened_ns
            idle_ms = limits.client_timeout_ms if silent else limits.keep_alive_ms
            dues.append((self.active_ns + idle_ms * _MS, connection.idle_out))
        return min(dues, key=lambda due: due[0])

    def _stalled(self) -> None:
        assert self._transport is not None
        assert self._connection is not None
        waiting = self._transport.get_write_buffer_size()
        if waiting < self._stalled_bytes:  # slow, but it reads
            self._stalled_bytes = waiting
            self.stalled_ns = self._hub.now_ns()
        else:
            self._connection.abort()

    def _lingered(self) -> None:
        """End the linger time; a client that is still reading gets the time for writes."""
        assert self._transport is not None
        if self._transport.get_write_buffer_size():
            self.stall()
        else:
            self._transport.abort()

    def _too_slow(self) -> None:
        assert self._connection is not None
        self._hub.counters.timeouts += 1
        part = "body" if self._reader.in_body else "head"
        self._connection.refuse(fail.too_slow(part, self._limits.client_timeout_ms))

    def _not_answered(self) -> None:
        assert self._connection is not None
        self._hub.counters.timeouts += 1
        self._connection.give_up(fail.not_answered(self._limits.answer_timeout_ms))
