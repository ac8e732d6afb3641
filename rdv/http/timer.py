"""A lazy timer has a deadline that moves with every request; moving it away costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

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
