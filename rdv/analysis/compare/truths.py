"""Keep what both models have answered to the requests whose outcome is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rdv.analysis.compare.pairs import ModelReports
from rdv.analysis.dataset.joined import Joined
from rdv.analysis.dataset.keys import Keys, hashed_keys
from rdv.analysis.dataset.outcomes import Outcomes
from rdv.analysis.dataset.values import Extract, KnownTruths
from rdv.analysis.measure import Contrast, Kept, Measure, Rate, contrast_of
from rdv.analysis.metrics import difference, metric_named
from rdv.analysis.statistics import Interval, PairedCounts, PairedShares

Floats = npt.NDArray[np.float64]
JUDGED_MAX = 1_000_000
"""The maximum number of requests that are kept, at 40 bytes each; of more, every second is."""


@dataclass(frozen=True)
class Judged:
    """Columns (n,) of requests that both models have scored and whose outcome is known, by time.

    Values are what is judged (`Extract`), truths the outcomes; `keys` are hashes of the requests'
    keys, of their ids where they have none. `extract` judges and names the values.
    """

    first: Floats
    second: Floats
    truth: Floats
    keys: Keys
    extract: Extract
    thinned: int = 1
    """1 if every request is there; k if every k-th is."""

    def __len__(self) -> int:
        return len(self.truth)

    @cached_property
    def known(self) -> KnownTruths:
        """The outcomes by class, and why they do not tell which answers are right, if so."""
        found = KnownTruths(self.extract)
        found.add(self.truth)
        return found

    @property
    def problem(self) -> str:
        """Why it cannot be said which model is right; empty if it can."""
        is_without = bool(np.isnan(self.first).all() or np.isnan(self.second).all())
        if not self.known.problem and is_without:
            field = self.extract.reading.answer
            kind = "a number" if self.extract.is_number else "a value"
            what = f"{kind} in the field {field!r}" if field else kind
            return f"one of the two never answers with {what} by which answers are judged"
        return self.known.problem

    @cached_property
    def key_count(self) -> int:
        """The number of keys that the requests have."""
        return len(np.unique(self.keys))

    def paired(self, confidence: float) -> PairedShares | None:
        """Return the shares of right answers; None if that cannot be said, or of numbers.

        Where keys have several requests, the interval is by key, and without an end if there are
        too few of them.
        """
        if self.problem or not self.extract.reading.has_right:
            return None
        first = self.extract.judge(self.first, self.truth)
        second = self.extract.judge(self.second, self.truth)
        counts = PairedCounts()
        counts.add(first == 1, second == 1)
        found = counts.shares(confidence)
        if found is None or self.key_count == len(self):
            return found
        by_key = difference(metric_named("value"), first, second, None, self.keys, confidence)
        if not isinstance(by_key, Interval):
            estimate = found.difference.estimate
            by_key = Interval(estimate, -math.inf, math.inf, confidence, "too few keys")
        return replace(found, difference=by_key)


class JudgedCollector:
    """Collects `Judged` and what the measure takes, batch by batch. For one thread at a time."""

    def __init__(
        self, outcomes: Outcomes, extract: Extract, measure: Measure, limit: int = JUDGED_MAX
    ) -> None:
        self.outcomes = outcomes
        self._extract, self._measure = extract, measure
        self._judged = Kept(limit)
        self._measured = self._judged if measure.extract is extract else Kept(limit)
        self._rate = Rate()

    def add(self, joined: Joined, first: ModelReports, second: ModelReports) -> None:
        """Add the requests of one batch that both have scored."""
        self._rate.add(joined.append_ns)
        if not len(self.outcomes):
            return
        keys = hashed_keys(joined)
        both = first.is_result & second.is_result
        truth = self.outcomes.of(joined, self._extract)
        rows = np.flatnonzero(both & ~np.isnan(truth))
        a, b = (one.number if self._extract.is_number else one.label for one in (first, second))
        self._judged.add(a[rows], b[rows], truth[rows], keys[rows])
        if self._measured is self._judged or self._measure.problem:
            return
        truth = self.outcomes.of(joined, self._measure.extract)
        rows = np.flatnonzero(both & ~np.isnan(truth))
        assert first.measured is not None
        assert second.measured is not None
        wanted = np.where(both, truth, np.nan)
        points = (
            self._measure.points(joined, measured, wanted)[rows]
            for measured in (first.measured, second.measured)
        )
        self._measured.add(*points, truth[rows], keys[rows])

    def judged(self) -> Judged:
        """Return all that was collected."""
        first, second, truth, keys = self._judged.columns() or _nothing()
        return Judged(first, second, truth, keys, self._extract, self._judged.stride)

    def points(self, judged: Judged) -> Points:
        """Return what the metric takes of both models."""
        measure, kept = self._measure, self._measured
        problem = measure.problem or ("" if len(self.outcomes) else "no outcomes are recorded")
        if kept is self._judged:
            first, second = (measure.points_of(one) for one in (judged.first, judged.second))
            truth, keys, problem = judged.truth, judged.keys, problem or judged.problem
        else:
            first, second, truth, keys = kept.columns() or _nothing()
        per_day = self._rate.per_day
        return Points(measure, first, second, truth, keys, problem, per_day, kept.stride)


@dataclass(frozen=True)
class Points:
    """What a metric takes of both models, (n,), of the requests that both have scored."""

    measure: Measure
    first: Floats
    second: Floats
    truth: Floats
    keys: Keys
    problem: str
    """Why nothing can be measured; empty if it can."""
    per_day: float | None
    thinned: int

    def contrast(self, names: tuple[str, str], confidence: float) -> Contrast:
        """Return how the two models compare by the metric."""
        return contrast_of(
            self.measure,
            names,
            (self.first, self.second),
            self.truth,
            self.keys,
            problem=self.problem,
            confidence=confidence,
            per_day=self.per_day,
            thinned=self.thinned,
        )


def _nothing() -> tuple[Floats, Floats, Floats, Keys]:
    none = np.empty(0)
    return none, none, none, np.empty(0, np.uint64)
