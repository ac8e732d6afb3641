"""Start the process that writes the hourly digests, once an hour. On the supervisor's loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Protocol

from rdv.coded import ShowLine
from rdv.decision import Decision

HOUR_S = 3600.0
NAME = "digests"


class Writer(Protocol):
    """The process that writes digests."""

    @property
    def pid(self) -> int: ...
    def reap(self) -> None: ...
    def kill(self) -> None: ...


Launch = Callable[[tuple[str, ...], Callable[[int], None]], Writer]
"""Starts a process by its arguments; the function gets its exit code. Raises OSError."""


class Digester:
    """Starts one process at a time, of low priority. It ends when all hours have a digest.

    The first one starts some time after the start, and catches up.
    """

    def __init__(self, decision: Callable[[], Decision], launch: Launch, show: ShowLine) -> None:
        self._decision, self._launch, self._show = decision, launch, show
        self._timer: asyncio.TimerHandle | None = None
        self._process: Writer | None = None

    def start(self) -> None:
        """Start the first process later, as `[drift]` says."""
        self._again(self._decision().drift.wait_ms / 1000)

    def pids(self) -> set[int]:
        """Return the process that runs now."""
        return set() if self._process is None else {self._process.pid}

    def reap(self) -> None:
        """Handle the end of some child."""
        if self._process is not None:
            self._process.reap()

    def stop(self) -> None:
        """Start no more, and end the one that runs: what it has not written comes later."""
        if self._timer is not None:
            self._timer.cancel()
        if self._process is not None:
            self._process.kill()
            self._process.reap()

    def _again(self, after_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(after_s, self._begin)

    def _begin(self) -> None:
        drift = self._decision().drift
        self._again(until_next_s(time.time(), drift.wait_ms))
        if self._process is not None or not drift.weeks:
            return
        directory = os.path.abspath(self._decision().directory)
        words = (NAME, directory, "--weeks", str(drift.weeks), "--wait-ms", str(drift.wait_ms))
        try:
            self._process = self._launch(words, self._ended)
        except OSError as error:
            text = f"the hourly digests were not written: {error.strerror or error}"
            self._show(text, "part_ended", NAME)

    def _ended(self, code: int) -> None:
        self._process = None
        if code > 0:
            self._show(
                f"the hourly digests were not written (exit code {code}): the next try is in an "
                "hour, and drift is compared with those that there are",
                "part_ended",
                NAME,
            )


def until_next_s(now_s: float, wait_ms: float) -> float:
    """Return the seconds until `wait_ms` after the end of this hour; at least one."""
    return max(1.0, HOUR_S - (now_s - wait_ms / 1000) % HOUR_S)
