"""Check that the supervisor restarts what ends: at once at first, then with growing delays."""

from __future__ import annotations

from simulator.scheduler import DEAD, MS, Process

STEADY_MS = 10_000
DELAY_MS_MAX = 10_000
REAP_NS = 1 * MS


class Restarts:
    """Check the starts and ends of every name against an own copy of the rule."""

    def __init__(self, oracle) -> None:
        self._oracle = oracle
        self._failures: dict[str, int] = {}
        self._not_before_ns: dict[str, int] = {}

    def started(self, process: Process, now_ns: int, world) -> None:
        name = process.name
        others = [p for p in world.processes if p.name == name and p is not process]
        if process.parts["part"].model in world.faults.touched:
            return  # stopped, started or replaced because of an edit
        living = [p for p in others if p.state != DEAD]
        self._oracle.expect(not living, "restarts", "%s beside %s", process, living)
        since_ns = self._not_before_ns.get(name, 0)
        self._oracle.expect(
            now_ns >= since_ns,
            "restarts",
            "%s %.1f ms too early",
            process,
            (since_ns - now_ns) / MS,
        )

    def ended(self, process: Process, now_ns: int) -> None:
        name, ran_ms = process.name, (now_ns - process.started_ns) / MS
        failures = 0 if ran_ms >= STEADY_MS else self._failures.get(name, 0)
        delay_ms = 0 if failures == 0 else min(DELAY_MS_MAX, 100 * 2 ** (failures - 1))
        self._failures[name] = failures + 1
        self._not_before_ns[name] = now_ns + int(delay_ms * MS)
