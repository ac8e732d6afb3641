"""Simulate the clocks of the machines that the processes run on."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.scheduler import START_NS, Scheduler

WALL_NS = 1_700_000_000 * 10**9


@dataclass
class Host:
    """A machine has a monotonic clock of its own and a wall clock that may jump."""

    name: str
    monotonic_offset_ns: int = 0
    wall_offset_ns: int = 0


class SimClock:
    """Implement `rdv.clock.Clock` with the clock of the running process's machine."""

    def __init__(self, scheduler: Scheduler, host: Host) -> None:
        self._scheduler = scheduler
        self._default = host

    def _host(self) -> Host:
        process = self._scheduler.current
        return self._default if process is None else process.host

    def wall_ns(self) -> int:
        return WALL_NS - START_NS + self._scheduler.now_ns + self._host().wall_offset_ns

    def monotonic_ns(self) -> int:
        return self._scheduler.now_ns + self._host().monotonic_offset_ns

    def true_ns(self, host: Host, monotonic_ns: int) -> int:
        return monotonic_ns - host.monotonic_offset_ns
