"""Generate send times, and wake up at a given nanosecond: event loops only know milliseconds.

Send times are nanoseconds since the start, without end; they are pure except for given chance.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import random
import sys
from collections.abc import Callable, Iterator
from time import CLOCK_MONOTONIC, monotonic_ns
from typing import Protocol

from rdv.errors import InputFault

RATE_MAX = 1_000_000.0
_SECOND_NS = 1_000_000_000
_ABSOLUTE, _NONBLOCK, _CLOEXEC = 1, 0o4000, 0o2000000
"""Flags of timerfd_create(2) and timerfd_settime(2)."""


class InvalidLoad(InputFault):
    """A setting of a load run cannot be used."""

    key: str
    reason: str

    _text = "{key}: {reason}"


def constant(rate: float) -> Iterator[int]:
    """Yield one time every 1/rate seconds, without drift. Raises InvalidLoad at once."""
    _check(rate)
    return (int(number * 1e9 / rate) for number in itertools.count())


def poisson(rate: float, seed: int) -> Iterator[int]:
    """Yield times as independent clients arrive: exponential gaps with a mean of 1/rate seconds."""
    _check(rate)
    return _exponential(rate, random.Random(seed))  # noqa: S311 - not for secrets


def share_of(rate: float, index: int, count: int, *, is_poisson: bool = False) -> Iterator[int]:
    """Yield the times of one of `count` generators that send `rate` a second together.

    They do not send at the same instant. Raises InvalidLoad at once.
    """
    own = rate / count
    arrivals = poisson(own, seed=index) if is_poisson else constant(own)
    offset_ns = int(index * 1e9 / rate)
    return (at_ns + offset_ns for at_ns in arrivals)


def _check(rate: float) -> None:
    if not 0 < rate <= RATE_MAX:
        raise InvalidLoad("rate", f"{rate} is not between 0 and {RATE_MAX:.0f} a second")


def _exponential(rate: float, chance: random.Random) -> Iterator[int]:
    at = 0.0
    while True:
        yield int(at * 1e9)
        at += chance.expovariate(rate)


class Pacer(Protocol):
    """Calls back at a time on the monotonic clock. Loop's thread only."""

    def wake_at(self, at_ns: int) -> None:
        """Call back once at `at_ns`, or at once when that is past. A new time replaces the old."""

    def close(self) -> None: ...


def make_pacer(wake: Callable[[], None]) -> Pacer:
    """Make the most precise pacer available: a timerfd on Linux, else the loop's own timer."""
    if sys.platform == "linux":
        try:
            return TimerfdPacer(wake)
        except (OSError, AttributeError):
            pass  # a C library without timerfd, or no descriptor left
    return LoopPacer(wake)


class TimerfdPacer:
    """Uses a kernel timer with a file descriptor: precise to tens of microseconds, no spinning."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(CLOCK_MONOTONIC, _NONBLOCK | _CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        # struct itimerspec: the interval (none), then the time.
        self._spec = (ctypes.c_long * 4)()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._fired)

    def wake_at(self, at_ns: int) -> None:
        at_ns = max(at_ns, 1)  # 0 would disarm it
        self._spec[2], self._spec[3] = divmod(at_ns, _SECOND_NS)
        if self._libc.timerfd_settime(self._fd, _ABSOLUTE, self._spec, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _fired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # it was set to another time after the loop saw it fire
        self._wake()


class LoopPacer:
    """Uses the loop's timer: up to a millisecond late, which counts as latency (as it should)."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None

    def wake_at(self, at_ns: int) -> None:
        self.close()
        delay_s = max(0, at_ns - monotonic_ns()) / _SECOND_NS
        self._handle = self._loop.call_later(delay_s, self._wake)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
