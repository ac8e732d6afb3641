"""Measure which model answers when a champion gets more requests than it can process.

    python -m benchmarks.overload [--seconds 5]

The workshop's case is a champion of 1,000 requests/s, a fast model of 10,000/s, and a load of
2,000/s. Then come 1, 2, 5 and 20 times the champion's capacity: the champion is made slower instead
of the load larger, so that the rest of the machine does not saturate; models sleep instead of
computing. "oldest first" is the same champion with `when_behind = "all"`.
"""

from __future__ import annotations

import argparse
import sys
from typing import NamedTuple

from benchmarks.overload_setup import Answers, Load, Reports, Staged
from benchmarks.report import Figure, show

SLA_MS = 50.0
SCHEDULE = """
sla_ms = 50
default = "nobody"
[[step]]
until_ms = 30
accept = ["champion"]
[[step]]
accept = ["champion", "fast"]
"""
MODEL = """
import time

def predict(rows):
    time.sleep({row_ms} / 1000 * len(rows))
    return [1] * len(rows)
"""
FAST_PER_S = 10_000
CHAMPION_SHARE_MIN = 0.8
"""The minimum share of its capacity, or of the load if that is less, that the champion must
answer.
"""


class Case(NamedTuple):
    """The findings of one run."""

    answers: Answers
    reports: Reports
    load_per_s: float
    champion_per_s: float

    @property
    def of_capacity(self) -> float:
        """The champion's answers as a share of those that it could have given."""
        possible = min(self.load_per_s, self.champion_per_s)
        return (
            self.answers.by_model.get("champion", 0)
            / self.answers.requests
            * (self.load_per_s / possible)
        )


def run(load_per_s: float, champion_per_s: float, seconds: float, settings: str = "") -> Case:
    models = {
        "champion": (MODEL.format(row_ms=1000 / champion_per_s), settings),
        "fast": (MODEL.format(row_ms=1000 / FAST_PER_S), ""),
    }
    with Staged(models, SCHEDULE) as staged:
        answers = staged.drive(Load(seconds, rate=load_per_s), SLA_MS)
        case = Case(answers, staged.reports("champion"), load_per_s, champion_per_s)
    _tell(case, settings)
    return case


def _tell(case: Case, settings: str) -> None:
    answers, reports = case.answers, case.reports
    shares = "  ".join(f"{m} {answers.share(m):.1%}" for m in ("champion", "fast", "default"))
    print(
        f"{case.load_per_s:,.0f}/s on {case.champion_per_s:,.0f}/s {settings or 'newest first'}: "
        f"{shares}, late {answers.late}, failed {answers.failed}, p50 {answers.p50_ms:.1f} "
        f"p99 {answers.p99_ms:.1f} ms, {case.of_capacity:.0%} of the champion's capacity; it "
        f"scored {reports.results}, refused {reports.refusals}, queue p50 p99 "
        f"{reports.queue_ms[0]:.1f} {reports.queue_ms[1]:.1f} ms, batch {reports.batch:.1f}",
        file=sys.stderr,
    )


def figures_of(name: str, ours: Case, oldest: Case) -> list[Figure]:
    def shares(case: Case) -> str:
        parts = (case.answers.share(model) for model in ("champion", "fast", "default"))
        return " / ".join(f"{part:.1%}" for part in parts)

    def latency(case: Case) -> str:
        answers = case.answers
        return f"{answers.late} late, p50 {answers.p50_ms:.0f}, p99 {answers.p99_ms:.0f} ms"

    answers, bound = ours.answers, CHAMPION_SHARE_MIN
    in_time = not answers.late and not answers.share("default")
    return [
        Figure(
            f"{name}: champion / fast / default",
            shares(ours), shares(oldest), "no default", not answers.share("default"),
        ),
        Figure(
            f"{name}: champion's answers, of its capacity",
            f"{ours.of_capacity:.0%}", f"{oldest.of_capacity:.0%}",
            f">= {bound:.0%}", ours.of_capacity >= bound,
        ),
        Figure(f"{name}: SLA misses", latency(ours), latency(oldest), "0 late", in_time),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", choices=("workshop", "factors"))
    chosen = parser.parse_args()
    cases = [("workshop, 2,000/s on 1,000/s", 2_000.0, 1_000.0)] if chosen.only != "factors" else []
    if chosen.only != "workshop":
        cases += [
            (f"{factor}× overload, 1,000/s on {1_000 // factor:,}/s", 1_000.0, 1_000.0 / factor)
            for factor in (1, 2, 5, 20)
        ]
    figures: list[Figure] = []
    for name, load_per_s, champion_per_s in cases:
        ours = run(load_per_s, champion_per_s, chosen.seconds)
        oldest = run(load_per_s, champion_per_s, chosen.seconds, 'when_behind = "all"')
        figures += figures_of(name, ours, oldest)
    show("Overload: newest first and refusing (measured), against oldest first", figures)


if __name__ == "__main__":
    main()
