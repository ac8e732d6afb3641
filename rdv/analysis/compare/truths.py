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
        if self.problem or self.extract.reading.kind == "number":
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
    """Collects `Judged` batch by batch. For one thread at a time."""

    def __init__(self, outcomes: Outcomes, extract: Extract, limit: int = JUDGED_MAX) -> None:
        self.outcomes = outcomes
        self._extract, self._limit = extract, limit
        self._kept: list[tuple[Floats, Floats, Floats, Keys]] = []
        self._size = self._seen = 0
        self._stride = 1

    def add(self, joined: Joined, first: ModelReports, second: ModelReports) -> None:
        """Add the requests of one batch that both have scored."""
        if not len(self.outcomes):
            return
        truth = self.outcomes.of(joined, self._extract)
        known = first.is_result & second.is_result & ~np.isnan(truth)
        rows = np.flatnonzero(known)
        start = -self._seen % self._stride
        self._seen += len(rows)
        rows = rows[start :: self._stride]
        if not len(rows):
            return
        a, b = (one.number if self._extract.is_number else one.label for one in (first, second))
        keys = hashed_keys(joined)
        self._keep((a[rows], b[rows], truth[rows], keys[rows]))

    def _keep(self, part: tuple[Floats, Floats, Floats, Keys]) -> None:
        self._kept.append(part)
        self._size += len(part[0])
        while self._size > self._limit:
            a, b, truth, keys = self._columns()
            self._kept = [(a[::2], b[::2], truth[::2], keys[::2])]
            self._size = len(self._kept[0][0])
            self._stride *= 2

    def _columns(self) -> tuple[Floats, Floats, Floats, Keys]:
        if not self._kept:
            nothing = np.empty(0)
            return nothing, nothing, nothing, np.empty(0, np.uint64)
        a, b, truth, keys = (np.concatenate(column) for column in zip(*self._kept, strict=True))
        return a, b, truth, keys

    def judged(self) -> Judged:
        """Return all that was collected."""
        return Judged(*self._columns(), self._extract, self._stride)
