"""Provides the one clock that tests set."""

from __future__ import annotations

import time
from dataclasses import dataclass

START_NS = 1_700_000_000 * 10**9


@dataclass
class FakeClock:
    """A clock that stands still until a test moves it.

    A time that is None is the system's.
    """

    wall: int | None = START_NS
    monotonic: int | None = 10**12
    step_ns: int = 0
    """How far the wall clock is off."""
    tick_ns: int = 0
    """How far both times move at each reading of the wall clock."""

    def wall_ns(self) -> int:
        if self.tick_ns:
            self.advance(self.tick_ns)
        return (time.time_ns() if self.wall is None else self.wall) + self.step_ns

    def monotonic_ns(self) -> int:
        return time.monotonic_ns() if self.monotonic is None else self.monotonic

    def advance(self, passed_ns: int) -> None:
        """Let time pass on both clocks."""
        if self.wall is not None:
            self.wall += passed_ns
        if self.monotonic is not None:
            self.monotonic += passed_ns

    def move_to(self, wall_ns: int) -> None:
        """Let time pass, forwards or backwards, until the wall clock shows this."""
        self.advance(wall_ns - self.wall_ns())
