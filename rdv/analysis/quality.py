"""Measure answers against outcomes by a named metric, on the same requests, with the key as unit.

The values are those of the `Reading`: codes of classes, probabilities or numbers. A metric that
cannot be computed from them says why (`Unmeasured`); nothing is guessed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.keys import Keys
from rdv.analysis.dataset.reading import Reading
from rdv.analysis.dataset.values import Extract, KnownTruths
from rdv.analysis.metrics import Metric, TooFew, Undefined, difference, estimate, metric_named
from rdv.analysis.statistics import Interval, InvalidSample

Floats = npt.NDArray[np.float64]

METRICS = {"class": "balanced-accuracy", "probability": "roc-auc", "number": "mae"}
"""The metric by type of outcome where none is named: those that rare classes do not fool."""
JUDGED_MAX = 1_000_000
"""The maximum number of requests that are kept; of more, every second one is."""
SHARE = dataclasses.replace(
    metric_named("value"), name="share", title="share", spread="share", unit="%", digits=1
)
"""The metric of how often something holds."""
_KINDS = {
    "class": ("class", "probability"),
    "score": ("probability",),
    "probability": ("probability",),
    "number": ("number",),
}


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


def metric_for(reading: Reading, name: str = "") -> Metric:
    """Return the named metric; without a name, one by the type of the outcomes.

    Raises UnknownMetric, InvalidMetric.
    """
    return metric_named(name or METRICS[reading.kind])


@dataclass(frozen=True)
class Judged:
    """Columns (n,) of requests whose outcome is known: the values of several sides, and truths."""

    sides: tuple[Floats, ...]
    truth: Floats
    keys: Keys
    extract: Extract
    thinned: int = 1
    """1 if every request is there; k if every k-th is."""

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def problem(self) -> str:
        """Why the outcomes do not tell which answers are right; empty if they do."""
        known = KnownTruths(self.extract)
        known.add(self.truth)
        return known.problem

    def measure(self, metric: Metric, side: int) -> Measured | Unmeasured:
        """Return the metric of one side, with its interval by key."""
        if problem := self._problem(metric):
            return Unmeasured(problem)
        try:
            found = estimate(
                metric, self._values(metric, side), self.truth, self.keys, **self._options(metric)
            )
        except InvalidSample as error:
            return Unmeasured(error.text())
        return _measured(found)

    def change(self, metric: Metric, new: int, old: int) -> Measured | Unmeasured:
        """Return the metric of side `new` minus that of side `old`, on the same requests."""
        if problem := self._problem(metric):
            return Unmeasured(problem)
        first, second = self._values(metric, new), self._values(metric, old)
        if np.array_equal(first, second, equal_nan=True):
            return Measured(0.0, Interval(0.0, 0.0, 0.0, 1.0, "the same values"))
        options = self._options(metric)
        try:
            found = difference(metric, first, second, self.truth, self.keys, **options)
        except InvalidSample as error:
            return Unmeasured(error.text())
        return _measured(found)

    def _problem(self, metric: Metric) -> str:
        reading = self.extract.reading
        if problem := self.problem:
            return problem
        kinds = _KINDS.get(metric.needs, ())
        if reading.kind not in kinds:
            wanted = " or ".join(kinds) or metric.needs
            return (
                f"{metric.title} needs a {wanted}, and answers are read as a {reading.kind}: "
                "name another metric, or declare the type in [outcome] of rdv.toml"
            )
        return ""

    def _values(self, metric: Metric, side: int) -> Floats:
        """Return what the metric needs: the side of the threshold, if it needs a class."""
        values, reading = self.sides[side], self.extract.reading
        if metric.needs != "class" or reading.kind != "probability":
            return values
        return np.where(np.isnan(values), np.nan, (values >= reading.threshold).astype(np.float64))

    def _options(self, metric: Metric) -> dict[str, Any]:
        options: dict[str, Any] = {"missing": "left out" if metric.needs == "number" else "wrong"}
        reading = self.extract.reading
        if reading.kind == "class" and metric.name == "f1":
            options["positive"] = self.extract.of_outcome(reading.positive)
        return options


def _measured(found: Interval | TooFew | Undefined) -> Measured | Unmeasured:
    if isinstance(found, Undefined):
        return Unmeasured(found.reason)
    if isinstance(found, TooFew):
        return Measured(found.estimate, None, found.reason)
    return Measured(found.estimate, found)


class Thinned:
    """Columns that grow batch by batch, evenly thinned beyond `limit` rows. One thread at a time.

    When there are too many, every second row is dropped, and only every second kept from then on.
    """

    def __init__(self, limit: int = JUDGED_MAX) -> None:
        self._limit = limit
        self._kept: list[tuple[npt.NDArray[Any], ...]] = []
        self._size = 0
        self.count = 0
        """The number of rows that were added."""
        self.stride = 1

    def __len__(self) -> int:
        return self._size

    def add(self, *columns: npt.NDArray[Any]) -> None:
        """Add rows; the last axis of each column is that of the rows."""
        count = columns[-1].shape[-1]
        start = -self.count % self.stride
        self.count += count
        part = tuple(column[..., start :: self.stride] for column in columns)
        if not part[-1].shape[-1]:
            return
        self._kept.append(part)
        self._size += part[-1].shape[-1]
        while self._size > self._limit:
            self._kept = [tuple(column[..., ::2] for column in self.columns())]
            self._size = self._kept[0][-1].shape[-1]
            self.stride *= 2

    def columns(self) -> list[npt.NDArray[Any]]:
        """Return the columns; none if no row was added."""
        return [np.concatenate(column, axis=-1) for column in zip(*self._kept, strict=True)]


class JudgedCollector:
    """Collects `Judged` batch by batch, evenly thinned beyond `limit`. One thread at a time."""

    def __init__(self, extract: Extract, limit: int = JUDGED_MAX) -> None:
        self._extract = extract
        self._rows = Thinned(limit)

    @property
    def known(self) -> int:
        """The number of requests with a known outcome so far."""
        return self._rows.count

    def add(self, sides: Sequence[Floats], truths: Floats, keys: Keys) -> None:
        """Add the requests whose outcome is known; `truths` is NaN where it is not."""
        rows = np.flatnonzero(~np.isnan(truths))
        self._rows.add(*(side[rows] for side in sides), truths[rows], keys[rows])

    def judged(self, sides: int) -> Judged:
        """Return all that was collected, of so many sides."""
        if not len(self._rows):
            nothing = np.empty(0)
            keys: Keys = np.empty(0, np.uint64)
            return Judged((nothing,) * sides, nothing, keys, self._extract)
        *values, truth, known = self._rows.columns()
        return Judged(tuple(values), truth, known, self._extract, self._rows.stride)


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
