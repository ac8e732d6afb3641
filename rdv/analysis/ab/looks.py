"""Compare cohorts by a metric that is no mean (ROC AUC, F1, ...), for a declared number of looks.

There is no interval of such a metric that holds at all looks, so that the level is spread evenly
over the looks that are declared. The unit is the key. Each cohort has an interval of its own
(`metrics.estimate`); as cohorts are independent, these are combined to that of the difference by
Newcombe's square-and-add (Zou & Donner, Statistics in Medicine 27, 2008). Pairs are compared on the
same requests (`metrics.difference`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.keys import Keys
from rdv.analysis.measure import Kept, Measure
from rdv.analysis.metrics import TooFew, Undefined, difference, estimate, looks
from rdv.analysis.metrics.estimate import Found
from rdv.analysis.statistics import Effect, Interval, InvalidSample
from rdv.analysis.statistics.ab.effect import Finding

Floats = npt.NDArray[np.float64]

ROWS_MAX = 500_000
"""The maximum number of requests that are kept of each cohort, at 32 bytes; more are thinned."""


@dataclass(frozen=True)
class Level:
    """`confidence` is that of all looks together, `count` how many there are."""

    confidence: float
    count: int

    @property
    def of_each(self) -> float:
        """The confidence of each look."""
        return looks(self.confidence, self.count)[0]

    def together(self, found: Found) -> Found:
        """Return an interval of one look as one of all looks together."""
        if not isinstance(found, Interval):
            return found
        method = f"{found.method}; for {self.count} looks"
        return replace(found, confidence=self.confidence, method=method)


@dataclass
class Side:
    """What is kept of the requests of a cohort, or of pairs. For one thread at a time.

    `points` of one side, or of both: what the metric takes of each answer (`Measure.points`).
    """

    rows: Kept = field(default_factory=lambda: Kept(ROWS_MAX))
    _columns: tuple[npt.NDArray[Any], ...] | None = None

    def add(self, keys: Keys, truths: Floats, *points: Floats) -> None:
        """Add requests whose truth is known, in which every side counts."""
        self.rows.add(keys, truths, *points)
        self._columns = None

    def columns(self) -> tuple[npt.NDArray[Any], ...]:
        """Return keys, truths and points; nothing if there is no request."""
        if self._columns is None and self.rows.count:
            self._columns = self.rows.columns()
        return self._columns or ()

    @property
    def keys(self) -> int:
        columns = self.columns()
        return len(np.unique(columns[0])) if columns else 0


def value_of(measure: Measure, side: Side, confidence: float) -> Found:
    """Return the metric of a cohort with its interval for one look, or why there is none."""
    columns = side.columns()
    if not columns:
        return Undefined(measure.metric.name, "no outcome of an answer is known")
    keys, truths, points = columns
    try:
        return estimate(measure.metric, points, truths, keys, confidence, **_options(measure))
    except InvalidSample as error:
        return Undefined(measure.metric.name, error.text())


def difference_of_pairs(measure: Measure, side: Side, confidence: float) -> Found:
    """Return the first's metric minus the second's on the same requests, for one look."""
    columns = side.columns()
    if not columns:
        return Undefined(measure.metric.name, "there are no pairs")
    keys, truths, first, second = columns
    try:
        return difference(
            measure.metric, first, second, truths, keys, confidence, **_options(measure)
        )
    except InvalidSample as error:
        return Undefined(measure.metric.name, error.text())


def difference_of_cohorts(named: tuple[str, str], first: Found, second: Found) -> Found:
    """Return the first's metric minus the second's, of independent cohorts.

    Their intervals must have the same confidence. Without one, the reason names the cohort.
    """
    for name, one in zip(named, (first, second), strict=True):
        if isinstance(one, Undefined):
            return Undefined(one.metric, f"the cohort {name}: {one.reason}")
    assert not isinstance(first, Undefined)
    assert not isinstance(second, Undefined)
    value = first.estimate - second.estimate
    for name, one in zip(named, (first, second), strict=True):
        if isinstance(one, TooFew):
            return TooFew(one.metric, value, f"the cohort {name}: {one.reason}")
    assert isinstance(first, Interval)
    assert isinstance(second, Interval)
    below = math.hypot(first.estimate - first.low, second.high - second.estimate)
    above = math.hypot(first.high - first.estimate, second.estimate - second.low)
    method = f"{first.method}, square-and-add"
    return Interval(value, value - below, value + above, first.confidence, method)


def effect_of(
    names: tuple[str, str], units: tuple[int, int], level: Level, each: Found, once: Found
) -> Effect:
    """Return an effect: `each` is the difference at the level of one of the looks, `once` alone.

    There are no p-values, and no number of keys that would be needed. Without an interval, it is
    too early.
    """
    whole = level.together(each)
    nothing = Interval(_estimate(each), -math.inf, math.inf, level.confidence, "too few keys")
    interval = whole if isinstance(whole, Interval) else nothing
    finding: Finding = (
        "better" if interval.low > 0 else "worse" if interval.high < 0 else "undecided"
    )
    return Effect(
        *names,
        units,
        interval,
        once if isinstance(once, Interval) else nothing,
        math.nan,
        math.nan,
        finding if isinstance(whole, Interval) else "too early",
        math.nan,
        why_early="" if isinstance(whole, Interval) else whole.reason,
    )


def _estimate(found: Found) -> float:
    return math.nan if isinstance(found, Undefined) else found.estimate


def _options(measure: Measure) -> dict[str, Any]:
    return {"missing": measure.missing, "positive": measure.positive}
