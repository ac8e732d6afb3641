"""Time as a value that is passed in, so that everything that depends on it can be tested."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time. Wall time is for people and look-ups, monotonic time for durations."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, UTC; may jump."""

    def monotonic_ns(self) -> int:
        """Nanoseconds on this host's monotonic clock: the same for all processes of one boot."""


class SystemClock:
    """The machine's clocks, called without a Python frame in between (the hot path uses them)."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)


SYSTEM_CLOCK: Clock = SystemClock()
