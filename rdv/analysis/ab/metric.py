"""The metric of an experiment: a value for each request, and its sums by key.

A value is of the answer that was given, or of one that another schedule would have given. Sums by
key are all that is needed of a cohort, however many requests it had.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import DEFAULT, NO_RESULT, Joined
from rdv.analysis.dataset.keys import Keys
from rdv.analysis.dataset.outcomes import Outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import Reading, choose_reading
from rdv.analysis.dataset.values import Extract, KnownTruths
from rdv.analysis.errors import TooManyKeys
from rdv.analysis.measure import DEFAULTS as DEFAULT_METRICS
from rdv.analysis.measure import Measure, choose_measure
from rdv.analysis.metrics import metric_names
from rdv.analysis.statistics import Arm
from rdv.analysis.statistics.ab.effect import Units
from rdv.analysis.whatif.decide import Decided
from rdv.analysis.whatif.result import values_of
from rdv.decision.outcome import Outcome
from rdv.decision.value import UNDECLARED, Value
from rdv.rendezvous.schedule import Schedule

RIGHT, DEFAULTS, WAITED = "right", "default", "waited_ms"

Floats = npt.NDArray[np.float64]
KEYS_MAX = 5_000_000
"""The maximum number of keys, at about 60 bytes each."""


@dataclass(frozen=True)
class Metric:
    """The metric of an experiment, by its name.

    `right`: the answer was right; `default`: it was the default; `waited_ms`: the wait; a metric of
    `rdv.analysis.metrics`, with its `measure`; any other name: the number in that field of the
    outcome. Of a metric that is no mean, requests have `points` and no values.
    """

    name: str
    extract: Extract
    outcomes: Outcomes
    measure: Measure | None = None

    @property
    def is_judged(self) -> bool:
        """Whether it is of answers that are held against outcomes."""
        return self.name == RIGHT or self.measure is not None

    @property
    def is_mean(self) -> bool:
        """Whether it is a mean over requests, of which there is an interval for all looks."""
        return self.measure is None or self.measure.metric.is_mean

    @property
    def reading(self) -> str:
        """How answers are held against outcomes, in words; empty if they are not."""
        if self.measure is not None:
            return self.measure.sentence()
        return self.extract.reading.sentence() if self.name == RIGHT else ""

    def problem(self, known: KnownTruths) -> str:
        """Return why these outcomes do not measure it; empty if they do."""
        if self.measure is not None and (self.measure.problem or self.measure.absent):
            return self.measure.problem or self.measure.absent
        if self.measure is not None and self.measure.missing == "left out":
            return ""  # a value or an error can be had of outcomes that are all alike
        return known.problem if self.is_judged else ""

    @property
    def is_share(self) -> bool:
        """Whether values are 0 or 1."""
        if self.measure is not None:
            return self.measure.metric.spread == "share"
        return self.name in (RIGHT, DEFAULTS)

    @property
    def is_percent(self) -> bool:
        """Whether it is shown in percent, and its differences in points."""
        return self.is_share if self.measure is None or self.is_mean else self._unit == "%"

    @property
    def _unit(self) -> str:
        return "" if self.measure is None else self.measure.metric.unit

    @property
    def is_of_answers(self) -> bool:
        """Whether the metric is known for answers not given, so that requests can be paired."""
        return self.is_judged or self.name in (DEFAULTS, WAITED)

    @property
    def needs_truth(self) -> bool:
        return self.name not in (DEFAULTS, WAITED)

    def truths(self, joined: Joined) -> Floats:
        """Return the value of each outcome, (n,); NaN where it is not known."""
        if self.is_judged or not self.needs_truth:
            return self.outcomes.of(joined, self.extract)
        return self.outcomes.of(joined, _Field(self.name))

    def of_answers(self, joined: Joined, truths: Floats) -> Floats:
        """Return the metric of the answers that were given, (n,); NaN without an answer."""
        answered = joined.kind != NO_RESULT
        if self.measure is not None:
            assert joined.given is not None
            return np.where(answered, self._rows(joined, joined.given, truths), np.nan)
        if self.name == DEFAULTS:
            return np.asarray(np.where(answered, joined.kind == DEFAULT, np.nan), np.float64)
        if self.name == WAITED:
            return joined.waited_ms
        if self.name == RIGHT:
            assert joined.given is not None
            right = self.extract.judge(joined.given, truths)
            return np.asarray(np.where(answered, right, np.nan), np.float64)
        return np.asarray(np.where(answered, truths, np.nan), np.float64)

    def points(self, joined: Joined, values: Floats, truths: Floats) -> Floats:
        """Return what the metric takes of each answer, (n,); for a metric that is no mean."""
        assert self.measure is not None
        return self.measure.points(joined, values, truths)

    def decided_points(
        self, joined: Joined, decided: Decided, schedule: Schedule, truths: Floats
    ) -> Floats:
        """Return the same of what the schedule would have answered."""
        return self.points(joined, values_of(joined, decided, schedule, self.extract), truths)

    def decided(
        self, joined: Joined, decided: Decided, schedule: Schedule, truths: Floats
    ) -> Floats:
        """Return the metric of what the schedule would have answered; see `is_of_answers`."""
        if self.name == DEFAULTS:
            return np.asarray(decided.kind == DEFAULT, np.float64)
        if self.name == WAITED:
            return decided.at_us.astype(np.float64) / 1000
        values = values_of(joined, decided, schedule, self.extract)
        if self.measure is not None:
            return self._rows(joined, values, truths)
        return self.extract.judge(values, truths)

    def _rows(self, joined: Joined, values: Floats, truths: Floats) -> Floats:
        """Return the metric of each request; of one that is no mean, 0 where it counts."""
        assert self.measure is not None
        points = self.measure.points(joined, values, truths)
        if self.is_mean:
            return self.measure.rows(points, truths)
        counts = ~np.isnan(truths)
        if self.measure.missing == "left out":
            counts &= ~np.isnan(points)
        return np.where(counts, 0.0, np.nan)


def choose_metric(
    recorded: Recorded, name: str, outcome: Outcome, on: str | None, value: Value
) -> tuple[str, Extract, Measure | None]:
    """Return what `Metric` takes, by its name; without one that of [outcome], or right.

    Raises InvalidMetric, and the log's SystemFaults.
    """
    if not name:
        name = outcome.metric or _usual(recorded, outcome, on)
    base = name.lower().replace("_", "-").partition("@")[0]
    is_own = base in {one.partition("@")[0] for one in metric_names()}
    if not is_own or (base == "value" and value == UNDECLARED):
        return name, Extract(choose_reading(recorded, outcome, on)), None
    measure = choose_measure(recorded, outcome, on, name, value)
    return name, measure.extract, measure


def _usual(recorded: Recorded, outcome: Outcome, on: str | None) -> str:
    """Return the metric where none is named; rankings are neither right nor wrong."""
    kind = choose_reading(recorded, outcome, on).kind
    return DEFAULT_METRICS["ranking"] if kind == "ranking" else RIGHT


class _Field(Extract):
    """Extracts the number in a field of an outcome; a yes is 1."""

    def __init__(self, name: str) -> None:
        super().__init__(Reading("number", truth=name))

    def of_truth(self, truth: Any) -> float:
        return super().of_truth(truth) if isinstance(truth, dict) else math.nan


class Sums:
    """`values` (columns, keys) are sums over the requests of each key. Raises TooManyKeys."""

    def __init__(self, columns: int) -> None:
        self.keys: Keys = np.empty(0, np.uint64)
        self.values: Floats = np.empty((columns, 0))

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, keys: Keys, values: Floats) -> None:
        """Add requests; `values` has one column for each."""
        every = np.concatenate([self.keys, keys])
        together = np.concatenate([self.values, values], axis=1)
        self.keys, place = np.unique(every, return_inverse=True)
        if len(self.keys) > KEYS_MAX:
            raise TooManyKeys(KEYS_MAX)
        count = len(self.keys)
        self.values = np.stack([np.bincount(place, row, count) for row in together])


def arm_of(name: str, totals: Floats, requests: Floats, *, is_binary: bool) -> Arm | None:
    """Return an arm from sums by key (those with requests); None for fewer than two keys.

    The mean is over requests, and its error is by the delta method, as in `statistics.ab.Units`.
    """
    there = requests > 0
    totals, requests = totals[there], requests[there]
    if len(totals) < 2:  # noqa: PLR2004 - a variance needs two
        return None
    mean = float(totals.sum() / requests.sum())
    pulls: Floats = (totals - mean * requests) / requests.mean()
    rare = None
    if is_binary:
        rare = min(int(np.sum(totals > 0)), int(np.sum(totals < requests)))
    return Units(name, mean, pulls, rare).arm()
