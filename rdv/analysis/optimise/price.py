"""The price of a millisecond: what the live schedule would be worth with another SLA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from rdv.analysis.charts import number, share
from rdv.analysis.charts.format import signed
from rdv.analysis.measure.contrast import as_interval
from rdv.analysis.metrics import Metric, difference
from rdv.analysis.optimise.cells import Columns, Study, arrivals_us
from rdv.analysis.optimise.measured import (
    default_share,
    gain_text,
    right_of,
    score_text,
    share_of_default,
)
from rdv.analysis.optimise.scorer import units
from rdv.analysis.statistics import Interval, plain
from rdv.analysis.whatif.decide import NO_MODEL, decide_all
from rdv.rendezvous.schedule import Schedule

STEP_MS = 5.0
"""How much more, and less, time the sentences are about."""
POINTS = 8
"""The number of SLAs of the curve below the live one."""


@dataclass(frozen=True)
class PricePoint:
    """The live schedule with another SLA; gains are compared with the live SLA, paired."""

    sla_ms: float
    score: Interval
    gain: Interval
    default: Interval
    default_change: Interval

    def as_json(self) -> dict[str, Any]:
        return {name: plain(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Price:
    """The curve of SLA, value and default share, by the recorded arrivals."""

    live_ms: float
    points: tuple[PricePoint, ...]
    """In order of the SLA, with the live one among them."""
    metric: Metric
    unit: str
    per_day: float | None
    limits: str
    """What limits the figures above the live SLA, in words."""

    def sentences(self) -> list[str]:
        """Return what the next milliseconds buy, and what less time would cost."""
        found = []
        for point in self.points:
            apart = point.sla_ms - self.live_ms
            if abs(abs(apart) - STEP_MS) < 1e-6:  # noqa: PLR2004 - rounding
                found.append(self._sentence(point, more=apart > 0))
        return found

    def _sentence(self, point: PricePoint, *, more: bool) -> str:
        what = "The next" if more else "The last"
        verb = "would buy" if more else "buy"
        gain = point.gain if more else _turned(point.gain)
        text = gain_text(self.metric, gain, self.unit, self.per_day)
        change = point.default_change if more else _turned(point.default_change)
        sure = "" if not gain.bounded or gain.low > 0 or gain.high < 0 else ", which may be chance"
        sentence = (
            f"{what} {STEP_MS:g} ms of the SLA ({number(min(self.live_ms, point.sla_ms))} → "
            f"{number(max(self.live_ms, point.sla_ms))} ms) {verb} {text} of "
            f"{self.metric.title}{sure}; the share of defaults changes by "
            f"{signed(change, scale=100, unit='points')}"
        )
        return f"{sentence}. {self.limits}".rstrip() if more and self.limits else f"{sentence}."

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return (columns, rows) of the curve."""
        rows = [
            [
                f"{point.sla_ms:g}{' (live)' if point.sla_ms == self.live_ms else ''}",
                score_text(self.metric, point.score, self.unit),
                None
                if point.sla_ms == self.live_ms
                else gain_text(self.metric, point.gain, self.unit),
                share(point.default),
            ]
            for point in self.points
        ]
        return ["SLA (ms)", self.metric.title, "gain", "default"], rows

    def as_json(self) -> dict[str, Any]:
        return {
            "live_sla_ms": self.live_ms,
            "points": [point.as_json() for point in self.points],
            "sentences": self.sentences(),
        }


def price_curve(study: Study, live: Schedule) -> Price:
    """Return the curve of the live schedule, on all requests of the study.

    Steps keep their ends. At a shorter SLA all of them end, and the best answer that is there is
    taken; a longer one gives the last step more time.
    """
    columns = study.columns
    base = decide_all(live, columns.arrivals)
    right = right_of(base, columns)
    is_default = (base.model == NO_MODEL).astype(np.float64)
    every = units(columns.keys, np.ones(len(columns), bool))
    found = []
    for sla_ms in _slas_ms(columns, live.sla_ms):
        decided = decide_all(msgspec.structs.replace(live, sla_ms=sla_ms), columns.arrivals)
        own = right_of(decided, columns)
        defaults = (decided.model == NO_MODEL).astype(np.float64)
        change = difference(share_of_default, defaults, is_default, keys=every)
        found.append(
            PricePoint(
                sla_ms,
                study.scorer.score(own, columns),
                study.scorer.gain(own, right, columns),
                default_share(decided, columns.keys),
                as_interval(change),
            )
        )
    return Price(live.sla_ms, tuple(found), study.metric, study.unit, study.per_day, _limits(live))


def _slas_ms(columns: Columns, live_ms: float) -> list[float]:
    """Return the live SLA, 5 ms less and more, and quantiles of the arrivals below it."""
    at_us = arrivals_us(columns.arrivals)[columns.arrivals.is_answer]
    within = at_us[at_us < live_ms * 1000]
    wanted = {live_ms, live_ms + STEP_MS, live_ms + 2 * STEP_MS}
    if live_ms > STEP_MS:
        wanted.add(live_ms - STEP_MS)
    if len(within):
        shares = np.linspace(0.1, 0.99, POINTS)
        wanted |= {float(np.ceil(ms)) for ms in np.quantile(within, shares) / 1000}
    return sorted(ms for ms in wanted if ms > 0)


def _limits(live: Schedule) -> str:
    last = live.steps[-1].until_ms
    if last is not None and last < live.sla_ms:
        return f"The last step ends at {last:g} ms, so that a longer SLA changes nothing."
    return "Models refuse what is late by the live SLA: with a longer one they may answer more."


def _turned(found: Interval) -> Interval:
    """Return the gain of the live SLA over the other one."""
    return Interval(
        0.0 - found.estimate, 0.0 - found.high, 0.0 - found.low, found.confidence, found.method
    )
