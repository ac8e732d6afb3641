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
from rdv.analysis.dataset.reading import Reading
from rdv.analysis.dataset.values import Extract
from rdv.analysis.errors import TooManyKeys
from rdv.analysis.statistics import Arm
from rdv.analysis.statistics.ab.effect import Units
from rdv.analysis.whatif.decide import Decided
from rdv.analysis.whatif.result import values_of
from rdv.rendezvous.schedule import Schedule

RIGHT, DEFAULTS, WAITED = "right", "default", "waited_ms"

Floats = npt.NDArray[np.float64]
KEYS_MAX = 5_000_000
"""The maximum number of keys, at about 60 bytes each."""


@dataclass(frozen=True)
class Metric:
    """The metric of an experiment, by its name.

    `right`: the answer was right; `default`: it was the default; `waited_ms`: the wait; any other
    name: the number in that field of the outcome.
    """

    name: str
    extract: Extract
    outcomes: Outcomes

    @property
    def is_share(self) -> bool:
        """Whether values are 0 or 1."""
        return self.name in (RIGHT, DEFAULTS)

    @property
    def is_of_answers(self) -> bool:
        """Whether the metric is known for answers not given, so that requests can be paired."""
        return self.name in (RIGHT, DEFAULTS, WAITED)

    @property
    def needs_truth(self) -> bool:
        return self.name not in (DEFAULTS, WAITED)

    def truths(self, joined: Joined) -> Floats:
        """Return the value of each outcome, (n,); NaN where it is not known."""
        if self.name == RIGHT or not self.needs_truth:
            return self.outcomes.of(joined, self.extract)
        return self.outcomes.of(joined, _Field(self.name))

    def of_answers(self, joined: Joined, truths: Floats) -> Floats:
        """Return the metric of the answers that were given, (n,); NaN without an answer."""
        answered = joined.kind != NO_RESULT
        if self.name == DEFAULTS:
            return np.asarray(np.where(answered, joined.kind == DEFAULT, np.nan), np.float64)
        if self.name == WAITED:
            return joined.waited_ms
        if self.name == RIGHT:
            assert joined.given is not None
            right = self.extract.judge(joined.given, truths)
            return np.asarray(np.where(answered, right, np.nan), np.float64)
        return np.asarray(np.where(answered, truths, np.nan), np.float64)

    def decided(
        self, joined: Joined, decided: Decided, schedule: Schedule, truths: Floats
    ) -> Floats:
        """Return the metric of what the schedule would have answered; see `is_of_answers`."""
        if self.name == DEFAULTS:
            return np.asarray(decided.kind == DEFAULT, np.float64)
        if self.name == WAITED:
            return decided.at_us.astype(np.float64) / 1000
        values = values_of(joined, decided, schedule, self.extract)
        return self.extract.judge(values, truths)


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
