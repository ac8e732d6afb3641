"""A `Clock` passes time as a value, so that everything that depends on it can be tested."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A `Clock` is a source of time.

    Wall time is for people and look-ups, monotonic time for durations.
    """

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970, UTC; may jump."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds on this host's monotonic clock; all processes of a boot share it."""


class SystemClock:
    """A `SystemClock` is the machine's clocks, called without a Python frame (for the hot path)."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)


SYSTEM_CLOCK: Clock = SystemClock()
