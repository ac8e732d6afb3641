"""When a process that ended is started again, and when that has no point. Pure: time is given."""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST_DELAY_MS = 100
DELAY_MS_MAX = 10_000
STEADY_MS = 10_000
"""A process that has run for so long had not failed to start: its next failure is a first one."""

ATTEMPTS_MAX = 7
"""Without a first success, a server or a proxy is given up after so many (about five seconds)."""


@dataclass(frozen=True)
class RestartState:
    """How often in a row a process has ended soon after its start."""

    failures: int = 0
    started_ms: float = 0.0
    was_ready: bool = False
    """Once in its life."""


def started(state: RestartState, now_ms: float) -> RestartState:
    """A process has been made."""
    return replace(state, started_ms=now_ms)


def became_ready(state: RestartState) -> RestartState:
    """It has said that it is ready."""
    return replace(state, was_ready=True)


def forgiven(state: RestartState) -> RestartState:
    """What it is made of has been edited: its failures so far say nothing of it any more."""
    return replace(state, failures=0)


def ended(state: RestartState, now_ms: float) -> tuple[RestartState, float]:
    """The process has ended by itself: the new state, and the delay until it is started again.

    The first time at once (a killed process should cost no more than its start), then after 100,
    200, 400 … ms, at most 10 s.
    """
    failures = 0 if now_ms - state.started_ms >= STEADY_MS else state.failures
    # 2**20 is far beyond the limit already; a float does not take 2**1024.
    exponent = min(max(failures - 1, 0), 20)
    delay_ms = 0.0 if failures == 0 else min(DELAY_MS_MAX, FIRST_DELAY_MS * 2.0**exponent)
    return replace(state, failures=failures + 1), delay_ms


def is_hopeless(state: RestartState, *, is_refusal: bool = False) -> bool:
    """It has never come up, often enough; once is enough when it says itself that it cannot."""
    return not state.was_ready and (is_refusal or state.failures >= ATTEMPTS_MAX)
