"""Decides when a command that keeps failing may be restarted. Pure: the time is an argument."""

from __future__ import annotations

FIRST_MS = 100
LONGEST_MS = 10_000


class Backoff:
    """Restarts at once the first time; every further failure doubles the wait, up to a limit.

    An answer ends the series: a command that fails now and then is always restarted at once.
    """

    def __init__(self, first_ms: int = FIRST_MS, longest_ms: int = LONGEST_MS) -> None:
        self._first_ms = first_ms
        self._longest_ms = longest_ms
        self._failures = 0
        self._ready_ns = 0

    def failed(self, now_ns: int) -> None:
        """Note that the command has failed."""
        if self._failures:
            doublings = min(self._failures - 1, 30)
            wait_ms = min(self._first_ms << doublings, self._longest_ms)
            self._ready_ns = now_ns + wait_ms * 1_000_000
        self._failures += 1

    @property
    def failures(self) -> int:
        """Return the number of failures in a row."""
        return self._failures

    def answered(self) -> None:
        """Note that the command works."""
        self._failures, self._ready_ns = 0, 0

    def wait_ms(self, now_ns: int) -> int:
        """Return the milliseconds until the command may be started; 0: now."""
        return max(0, -((now_ns - self._ready_ns) // 1_000_000))
