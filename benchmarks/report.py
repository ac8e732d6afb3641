"""All benchmarks print one table: what was measured, against what, and whether it holds."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns

from rdv.native import NATIVE


@dataclass(frozen=True)
class Figure:
    """A measured value, its baseline from the same run, and its bound."""

    name: str
    value: str
    baseline: str
    bound: str
    holds: bool


def best_ns(work: Callable[[], object], rounds: int = 5) -> int:
    """Return the time of the quickest round, which the rest of the machine disturbed least."""
    best = 2**63
    for _ in range(rounds):
        start = perf_counter_ns()
        work()
        best = min(best, perf_counter_ns() - start)
    return best


def interpreter() -> str:
    native = "with" if NATIVE is not None else "without"
    return f"Python {platform.python_version()} {native} the C extension"


def show(title: str, figures: list[Figure]) -> None:
    """Print a Markdown table that can be pasted into the README."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    print(f"{title}: {interpreter()}, {cores} cores, {sys.platform}\n")
    print("| what | measured | baseline, same run | bound | holds |")
    print("|---|---|---|---|---|")
    for f in figures:
        print(f"| {f.name} | {f.value} | {f.baseline} | {f.bound} | {'yes' if f.holds else 'NO'} |")
    print()
