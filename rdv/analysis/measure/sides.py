"""Hold several sides against outcomes by one metric, on the same requests, with the key as unit.

What a metric takes of each answer are the points of its `Measure`. A metric that cannot be had says
why (`Unmeasured`); nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import Joined
from rdv.analysis.dataset.keys import Keys, hashed_keys
from rdv.analysis.dataset.values import KnownTruths
from rdv.analysis.measure.contrast import share_metric
from rdv.analysis.measure.kept import Kept
from rdv.analysis.measure.measure import Measure
from rdv.analysis.metrics import TooFew, Undefined, difference, estimate
from rdv.analysis.statistics import Interval, InvalidSample

Floats = npt.NDArray[np.float64]

JUDGED_MAX = 1_000_000
"""The maximum number of requests that are kept; of more, every second one is."""
SHARE = share_metric("share")


@dataclass(frozen=True)
class Measured:
    """A metric of one side. `interval` is None, with a reason, where keys are too few."""

    value: float
    interval: Interval | None
    reason: str = ""


@dataclass(frozen=True)
class Unmeasured:
    """The metric has no value for these requests; `reason` is a sentence part that says why."""

    reason: str


@dataclass(frozen=True)
class Judged:
    """Columns (n,) of requests whose outcome is known: values and points of each side, truths."""

    measure: Measure
    values: tuple[Floats, ...]
    points: tuple[Floats, ...]
    truth: Floats
    keys: Keys
    thinned: int = 1
    """1 if every request is there; k if every k-th is."""

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: npt.NDArray[np.bool_], sides: tuple[int, ...]) -> Judged:
        """Return some of the requests, and of the sides."""
        values = tuple(self.values[side][rows] for side in sides)
        points = tuple(self.points[side][rows] for side in sides)
        return Judged(self.measure, values, points, self.truth[rows], self.keys[rows], self.thinned)

    @property
    def problem(self) -> str:
        """Why the outcomes do not tell how good answers are; empty if they do."""
        if self.measure.problem:
            return self.measure.problem
        known = KnownTruths(self.measure.extract)
        known.add(self.truth)
        is_value = self.measure.metric.needs == "value" and known.known > 0
        return "" if is_value else known.problem

    def side(self, number: int) -> Measured | Unmeasured:
        """Return the metric of one side, with its interval by key."""
        if problem := self.problem:
            return Unmeasured(problem)
        try:
            found = estimate(
                self.measure.metric, self.points[number], self.truth, self.keys, **self._options()
            )
        except InvalidSample as error:
            return Unmeasured(error.text())
        return _measured(found)

    def change(self, new: int, old: int) -> Measured | Unmeasured:
        """Return the metric of side `new` minus that of side `old`, on the same requests."""
        if problem := self.problem:
            return Unmeasured(problem)
        first, second = self.points[new], self.points[old]
        if np.array_equal(first, second, equal_nan=True):
            return Measured(0.0, Interval(0.0, 0.0, 0.0, 1.0, "the same values"))
        metric, options = self.measure.metric, self._options()
        try:
            found = difference(metric, first, second, self.truth, self.keys, **options)
        except InvalidSample as error:
            return Unmeasured(error.text())
        return _measured(found)

    def _options(self) -> dict[str, Any]:
        return {"missing": self.measure.missing, "positive": self.measure.positive}


def _measured(found: Interval | TooFew | Undefined) -> Measured | Unmeasured:
    if isinstance(found, Undefined):
        return Unmeasured(found.reason)
    if isinstance(found, TooFew):
        return Measured(found.estimate, None, found.reason)
    return Measured(found.estimate, found)


class JudgedCollector:
    """Collects `Judged` batch by batch, evenly thinned beyond `limit`. One thread at a time."""

    def __init__(self, measure: Measure, sides: int, limit: int = JUDGED_MAX) -> None:
        self._measure, self._sides = measure, sides
        self._rows = Kept(limit)

    @property
    def known(self) -> int:
        """The number of requests with a known outcome so far."""
        return self._rows.count

    def add(self, joined: Joined, sides: Sequence[Floats], truths: Floats) -> None:
        """Add the requests whose outcome is known; `truths` is NaN where it is not."""
        rows = np.flatnonzero(~np.isnan(truths))
        points = [self._measure.points(joined, side, truths) for side in sides]
        columns = (*sides, *points, truths, hashed_keys(joined))
        self._rows.add(*(column[rows] for column in columns))

    def judged(self) -> Judged:
        """Return all that was collected."""
        count = self._sides
        if not self._rows.count:
            nothing = np.empty(0)
            keys: Keys = np.empty(0, np.uint64)
            return Judged(self._measure, (nothing,) * count, (nothing,) * count, nothing, keys)
        *columns, truth, known = self._rows.columns()
        values, points = tuple(columns[:count]), tuple(columns[count:])
        return Judged(self._measure, values, points, truth, known, self._rows.stride)


def share_of(holds: npt.NDArray[Any], keys: Keys) -> Measured | Unmeasured:
    """Return how often something holds, with its interval by key."""
    if not len(holds):
        return Unmeasured("there are no such requests")
    return _measured(estimate(SHARE, holds.astype(np.float64), None, keys))


def share_change(new: npt.NDArray[Any], old: npt.NDArray[Any], keys: Keys) -> Measured | Unmeasured:
    """Return how much more often something holds, on the same requests, by key."""
    if not len(new):
        return Unmeasured("there are no requests")
    first, second = new.astype(np.float64), old.astype(np.float64)
    return _measured(difference(SHARE, first, second, None, keys))
