"""The findings of a search are figures with intervals, and sentences.

Compute 95 % intervals of shares, of quantiles, and of paired differences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.schedule.model import content

WAIT_MS_MIN = 0.1
"""The minimum difference of waits in ms; a smaller one counts as none."""


@dataclass(frozen=True)
class Point:
    """A schedule's figures on the later half, with 95 % intervals."""

    schedule: Schedule
    score: float
    score_low: float
    score_high: float
    p99_ms: float
    p99_low_ms: float
    p99_high_ms: float
    default_share: float
    gain: float
    gain_low: float
    gain_high: float
    """The gain over the live schedule, paired on the same requests."""
    learned_score: float
    learned_p99_ms: float
    models: dict[str, float]
    """The share of answers of each model."""

    def as_json(self) -> dict[str, Any]:
        figures = {k: v for k, v in vars(self).items() if k != "schedule"}
        return {**figures, "schedule": content(self.schedule)}


@dataclass(frozen=True)
class Optimum:
    """The frontier (by p99, each point better than the one before), the live schedule, the
    choice.
    """

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
        said = []
        before = self.frontier[0]
        for point in self.frontier[1:]:
            # On the later half, a point may not be slower than the one before, only better.
            if point.p99_ms >= before.p99_ms + WAIT_MS_MIN:
                said.append(_step_up(before, point, self.measure))
            before = point
        if self.chosen is not None:
            said.append(_against_live(self.chosen, self.live, self.measure))
        return said

    def as_json(self) -> dict[str, Any]:
        return {
            **{k: v for k, v in vars(self).items() if k not in ("live", "frontier", "chosen")},
            "live": self.live.as_json(),
            "frontier": [point.as_json() for point in self.frontier],
            "chosen": None if self.chosen is None else self.chosen.as_json(),
            "sentences": self.sentences(),
        }


def _step_up(before: Point, point: Point, measure: str) -> str:
    wait_ms = point.p99_ms - before.p99_ms
    gain = (point.score - before.score) * 100
    return (
        f"waiting {wait_ms:.1f} ms more (p99 {before.p99_ms:.1f} → {point.p99_ms:.1f} ms) "
        f"{'buys' if gain >= 0 else 'costs'} {abs(gain):.2f} points of {measure}"
    )


def _against_live(chosen: Point, live: Point, measure: str) -> str:
    return (
        f"the chosen schedule against the live one: {chosen.gain * 100:+.2f} points of {measure} "
        f"(95 %: {chosen.gain_low * 100:+.2f} to {chosen.gain_high * 100:+.2f}), "
        f"p99 {live.p99_ms:.1f} → {chosen.p99_ms:.1f} ms"
    )


def describe(schedule: Schedule) -> str:
    """Return a candidate in one line: `gbm until 12.5 ms, gbm logit until 30 ms, then gbm logit
    *`.
    """
    parts = []
    for step in schedule.steps:
        who = " ".join(step.accept)
        parts.append(f"{who} until {step.until_ms:g} ms" if step.until_ms else who)
    return ", then ".join(parts)


Z = 1.959963984540054
ROUNDS = 2_000


def share_interval(hits: float, count: int) -> tuple[float, float]:
    """Return Wilson's score interval (Wilson, JASA 22, 1927), valid for small counts and shares
    near 1.
    """
    if not count:
        return 0.0, 1.0
    share = hits / count
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count)
    half *= math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def quantile_interval(values: npt.NDArray[np.int64], share: float) -> tuple[float, float, float]:
    """Return (low, quantile, high) by order statistics.

    Ranks come from the normal limit of the binomial (Conover, Practical Nonparametric Statistics,
    3.2). `values` need not be sorted.
    """
    ordered = np.sort(values)
    count = len(ordered)
    at = share * count
    spread = Z * math.sqrt(count * share * (1 - share))

    def rank(place: float) -> float:
        return float(ordered[min(count - 1, max(0, math.ceil(place - 1e-9) - 1))])

    return rank(at - spread), rank(at), rank(at + spread + 1)


def difference_interval(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Return (low, mean of a - b, high) of paired 0s and 1s, by bootstrap (Efron 1979).

    A resample of pairs depends only on how many of them are +1, 0 and -1: it is one multinomial
    draw. The draws are the same in every run.
    """
    difference = a - b
    count = len(difference)
    if not count:
        return 0.0, 0.0, 0.0
    better, worse = float((difference > 0).sum()), float((difference < 0).sum())
    shares = [better / count, worse / count, (count - better - worse) / count]
    draws = np.random.default_rng(0).multinomial(count, shares, ROUNDS)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / count, [0.025, 0.975])
    return float(low), (better - worse) / count, float(high)
