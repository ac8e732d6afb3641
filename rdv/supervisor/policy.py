"""When a process that ended is started again. Pure: `now_ms` is an argument."""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST_DELAY_MS = 100
DELAY_MS_MAX = 10_000
STEADY_MS = 10_000
"""A process that has run for so long had not failed to start: its next failure counts as a first."""


@dataclass(frozen=True)
class RestartState:
    """How often in a row a process has ended soon after its start."""

    failures: int = 0
    started_ms: float = 0.0


def started(state: RestartState, now_ms: float) -> RestartState:
    return replace(state, started_ms=now_ms)


def ended(state: RestartState, now_ms: float) -> tuple[RestartState, float]:
    """The process has ended by itself: the new state, and the delay until it is started again.

    The first time at once (a killed process should cost no more than its start), then after 100,
    200, 400 … ms, at most 10 s.
    """
    failures = 0 if now_ms - state.started_ms >= STEADY_MS else state.failures
    delay_ms = 0.0 if failures == 0 else min(DELAY_MS_MAX, FIRST_DELAY_MS * 2.0 ** (failures - 1))
    return replace(state, failures=failures + 1), delay_ms
