"""Decides when to restart a process that ended, and when to give up. Pure: time is given."""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST_DELAY_MS = 100
DELAY_MS_MAX = 10_000
STEADY_MS = 10_000
"""A process that has run this long had started well: its next failure counts as the first."""

ATTEMPTS_MAX = 7
"""A server or a proxy that never came up is given up after this many attempts (about five
seconds).
"""


@dataclass(frozen=True)
class RestartState:
    """Counts how often in a row a process has ended soon after its start."""

    failures: int = 0
    started_ms: float = 0.0
    was_ready: bool = False
    """Whether it has ever been ready."""


def started(state: RestartState, now_ms: float) -> RestartState:
    """Record that a process has been made."""
    return replace(state, started_ms=now_ms)


def became_ready(state: RestartState) -> RestartState:
    """Record that it has become ready."""
    return replace(state, was_ready=True)


def forgiven(state: RestartState) -> RestartState:
    """Reset the failures after an edit of what the process is made of."""
    return replace(state, failures=0)


def ended(state: RestartState, now_ms: float) -> tuple[RestartState, float]:
    """Return the new state of a process that ended, and the delay until it is restarted, in ms.

    The first restart is at once (a killed process should cost no more than its start), then after
    100, 200, 400 … ms, at most 10 s.
    """
    failures = 0 if now_ms - state.started_ms >= STEADY_MS else state.failures
    # 2**20 is far beyond the limit already; a float cannot hold 2**1024.
    exponent = min(max(failures - 1, 0), 20)
    delay_ms = 0.0 if failures == 0 else min(DELAY_MS_MAX, FIRST_DELAY_MS * 2.0**exponent)
    return replace(state, failures=failures + 1), delay_ms


def is_hopeless(state: RestartState, *, is_refusal: bool = False) -> bool:
    """Return whether it has failed too often without ever coming up; a refusal is enough."""
    return not state.was_ready and (is_refusal or state.failures >= ATTEMPTS_MAX)
