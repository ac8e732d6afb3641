"""What a search has found: figures with 95 % intervals, sentences, and values for JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rdv.analysis.charts import number, signed
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

    def as_json(self) -> dict[str, Any]:
        ends: dict[str, float] = {}
        for name, value in (("score", self.score), ("p99", self.p99_ms), ("gain", self.gain)):
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

    def sentences(self) -> list[str]:
        """Return what waiting brings, as sentences."""
        found = []
        before = self.frontier[0]
        for point in self.frontier[1:]:
            # On the later half, a point may not be slower than the one before, only better.
            if point.p99_ms.estimate >= before.p99_ms.estimate + WAIT_MS_MIN:
                found.append(_step_up(before, point, self.measure))
            before = point
        if self.chosen is not None:
            found.append(_against_live(self.chosen, self.live, self.measure))
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            **{k: v for k, v in vars(self).items() if k not in ("live", "frontier", "chosen")},
            "live": self.live.as_json(),
            "frontier": [point.as_json() for point in self.frontier],
            "chosen": None if self.chosen is None else self.chosen.as_json(),
            "sentences": self.sentences(),
        }


def _step_up(before: Point, point: Point, measure: str) -> str:
    old_ms, new_ms = before.p99_ms.estimate, point.p99_ms.estimate
    gain = (point.score.estimate - before.score.estimate) * 100
    return (
        f"Waiting {number(new_ms - old_ms)} ms more (p99 {number(old_ms)} → {number(new_ms)} ms) "
        f"{'gains' if gain >= 0 else 'loses'} {number(abs(gain))} points of {measure}."
    )


def _against_live(chosen: Point, live: Point, measure: str) -> str:
    old_ms, new_ms = live.p99_ms.estimate, chosen.p99_ms.estimate
    return (
        f"The chosen schedule compared with the live one: {measure} "
        f"{signed(chosen.gain, scale=100, unit='points')}, "
        f"p99 {number(old_ms)} → {number(new_ms)} ms."
    )


def describe(schedule: Schedule) -> str:
    """Return a candidate in one line: `gbm until 12.5 ms, then gbm logit *`."""
    parts = []
    for step in schedule.steps:
        who = " ".join(step.accept)
        parts.append(f"{who} until {step.until_ms:g} ms" if step.until_ms else who)
    return ", then ".join(parts)
