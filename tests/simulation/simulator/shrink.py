"""Shrink a plan that breaks a promise to a smaller one that breaks the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from simulator.outcome import Outcome
from simulator.plan import Plan

RUNS_MAX = 200
_T = TypeVar("_T")


def shrink(plan: Plan, run: Callable[[Plan], Outcome]) -> Plan:
    """Return a plan with fewer faults, fewer requests and an earlier end that still breaks one of
    the promises that `run` found broken. The same plan gives the same; at most RUNS_MAX runs.
    """
    promises = run(plan).promises
    runs = 0

    def fails(smaller: Plan) -> bool:
        nonlocal runs
        runs += 1
        return runs <= RUNS_MAX and bool(promises & run(smaller).promises)

    plan = replace(
        plan, arrivals=_prefix(plan.arrivals, lambda a: fails(replace(plan, arrivals=a)))
    )
    plan = replace(plan, faults=_without(plan.faults, lambda f: fails(replace(plan, faults=f))))
    plan = replace(
        plan, arrivals=_without(plan.arrivals, lambda a: fails(replace(plan, arrivals=a)))
    )
    for simpler in ({"preempted": 0.0}, {"is_broker": False}, {"shares": {}}):
        if fails(smaller := replace(plan, **simpler)):
            plan = smaller
    return plan


def _prefix(items: tuple[_T, ...], fails: Callable[[tuple[_T, ...]], bool]) -> tuple[_T, ...]:
    """Return the shortest prefix that still fails, by bisection."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        if fails(items[:middle]):
            high = middle
        else:
            low = middle + 1
    return items[:high]


def _without(items: Sequence[_T], fails: Callable[[tuple[_T, ...]], bool]) -> tuple[_T, ...]:
    """Leave out what is not needed: first halves, then single items."""
    kept, size = tuple(items), max(1, len(items) // 2)
    while True:
        place = 0
        while place < len(kept):
            smaller = kept[:place] + kept[place + size :]
            if fails(smaller):
                kept = smaller
            else:
                place += size
        if size == 1:
            return kept
        size = max(1, size // 2)
