"""The pulse measures how busy the machine is: when its timers are late, other processes are late
too.
"""

from __future__ import annotations

import asyncio

from rdv.loadgen import Histogram

_EVERY_S = 0.02


class Pulse:
    """A timer that records how late it fires, in ns, from `start` to `stop`. For use on the event
    loop only.
    """

    def __init__(self) -> None:
        self.late = Histogram()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arm()

    def _arm(self) -> None:
        self._due_s = self._loop.time() + _EVERY_S
        self._timer = self._loop.call_at(self._due_s, self._beat)

    def _beat(self) -> None:
        self.late.record(int((self._loop.time() - self._due_s) * 1e9))
        self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
