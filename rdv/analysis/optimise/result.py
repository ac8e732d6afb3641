"""What a search has found: figures with 95 % intervals, sentences, and values for JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rdv.analysis.charts import cell, number
from rdv.analysis.measure.contrast import share_metric
from rdv.analysis.metrics import Metric
from rdv.analysis.optimise.measured import gain_text, score_text
from rdv.analysis.optimise.price import Price
from rdv.analysis.statistics import Interval, plain
from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.schedule.model import content

WAIT_MS_MIN = 0.1
"""The minimum difference of waits in ms; a smaller one counts as none."""


@dataclass(frozen=True)
class Point:
    """A schedule's figures on the later half of the requests, with 95 % intervals."""

    schedule: Schedule
    score: Interval
    p99_ms: Interval
    gain: Interval
    """The gain over the live schedule, paired on the same requests."""
    default_share: float
    learned_score: float
    learned_p99_ms: float
    models: dict[str, float]
    """The share of answers of each model."""
    default: Interval | None = None
    """The share of defaults, with its interval by key."""

    def as_json(self) -> dict[str, Any]:
        ends: dict[str, float] = {}
        shown = (("score", self.score), ("p99", self.p99_ms), ("gain", self.gain))
        for name, value in shown:
            unit = "_ms" if name == "p99" else ""
            ends |= {
                f"{name}{unit}": value.estimate,
                f"{name}_low{unit}": value.low,
                f"{name}_high{unit}": value.high,
            }
        rest = ("default_share", "learned_score", "learned_p99_ms", "models")
        figures = plain({**ends, **{name: getattr(self, name) for name in rest}})
        return {**figures, "schedule": content(self.schedule)}


@dataclass(frozen=True)
class Optimum:
    """The frontier (by p99, each point better than the one before), the live one, the choice."""

    measure: str
    champion: str | None
    learned_on: int
    reported_on: int
    judged: int
    tried: int
    cells: int
    live: Point
    frontier: list[Point]
    chosen: Point | None
    p99_ms_max: float | None
    remarks: list[str] = field(default_factory=list)
    metric: Metric = field(default_factory=lambda: share_metric("accuracy"))
    unit: str = ""
    per_day: float | None = None
    """Requests a day, at the recorded rate."""
    price: Price | None = None
    """What the live schedule would be worth with another SLA."""
    keeps_live: str = ""
    """Why the live schedule, which is quick enough, is kept; then nothing is chosen."""

    def _repr_html_(self) -> str:
        """Return the report, for notebooks."""
        from rdv.analysis.optimise.view import optimise_report

        return optimise_report(self).fragment()

    def score_text(self, found: Interval) -> str:
        """Return a value of the metric, with its interval, as text."""
        return score_text(self.metric, found, self.unit)

    def gain_text(self, found: Interval) -> str:
        """Return a gain, with its interval, as text."""
        return gain_text(self.metric, found, self.unit, self.per_day)

    def sentences(self) -> list[str]:
        """Return what waiting brings, as sentences."""
        found = []
        before = self.frontier[0]
        for point in self.frontier[1:]:
            # On the later half, a point may not be slower than the one before, only better.
            if point.p99_ms.estimate >= before.p99_ms.estimate + WAIT_MS_MIN:
                found.append(self._step_up(before, point))
            before = point
        if self.chosen is not None:
            found.append(self._against_live(self.chosen))
            if self.chosen.gain.low <= 0 <= self.chosen.gain.high:
                found.append("Nothing shows that it is better than the live schedule.")
            if not self._holds(self.chosen):
                found.append(
                    f"Whether its p99 stays within {number(self.p99_ms_max or 0)} ms is not sure: "
                    f"{cell(self.chosen.p99_ms)} ms."
                )
        elif self.keeps_live:
            found.append(f"The live schedule is the best one found: {self.keeps_live}.")
        elif self.p99_ms_max is not None:
            found.append(
                f"No schedule answers 99 % by {number(self.p99_ms_max)} ms on both halves."
            )
        if self.price is not None:
            found += self.price.sentences()
        return found

    def _holds(self, point: Point) -> bool:
        return self.p99_ms_max is None or point.p99_ms.high <= self.p99_ms_max

    def as_json(self) -> dict[str, Any]:
        return {
            **{k: v for k, v in vars(self).items() if k not in _OWN_FORM},
            "metric": self.metric.name,
            "unit": self.unit or self.metric.unit,
            "price": None if self.price is None else self.price.as_json(),
            "live": self.live.as_json(),
            "frontier": [point.as_json() for point in self.frontier],
            "chosen": None if self.chosen is None else self.chosen.as_json(),
            "sentences": self.sentences(),
        }

    def _step_up(self, before: Point, point: Point) -> str:
        old_ms, new_ms = before.p99_ms.estimate, point.p99_ms.estimate
        more = point.score.estimate - before.score.estimate
        gain = more if self.metric.higher_is_better else -more
        scale, unit = (100, "points of ") if self.metric.unit == "%" else (1, "")
        if self.metric.unit != "%":
            unit = f"{self.unit} of ".lstrip() if self.unit else "of "
        return (
            f"Waiting {number(new_ms - old_ms)} ms more (p99 {number(old_ms)} → {number(new_ms)} "
            f"ms) {'gains' if gain >= 0 else 'loses'} {number(scale * abs(gain))} {unit}"
            f"{self.measure}."
        )

    def _against_live(self, chosen: Point) -> str:
        old_ms, new_ms = self.live.p99_ms.estimate, chosen.p99_ms.estimate
        return (
            f"The chosen schedule compared with the live one: {self.measure} "
            f"{self.gain_text(chosen.gain)}, p99 {number(old_ms)} → {number(new_ms)} ms."
        )


def why_keep_live(better: Point | None) -> str:
    """Return why a live schedule that is quick enough is not replaced by another one, or "".

    `better` was the best one, and at least as good as the live schedule, on the earlier half.
    """
    if better is None:
        return "every other one was worse on the earlier half"
    if better.gain.high < 0:
        return "what was best on the earlier half is worse than it on the later half"
    return ""


_OWN_FORM = ("live", "frontier", "chosen", "metric", "unit", "price")


def describe(schedule: Schedule) -> str:
    """Return a candidate in one line: `gbm until 12.5 ms, then gbm logit *`."""
    parts = []
    for step in schedule.steps:
        who = " ".join(step.accept)
        parts.append(f"{who} until {step.until_ms:g} ms" if step.until_ms else who)
    return ", then ".join(parts)
