"""`Lists`: one list of numbers for each request, in flat arrays."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.sample import BoolArray, FloatArray, IntArray, InvalidSample

Truth = Mapping[Hashable, float] | Collection[Hashable] | Hashable | None


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """The scores (or the gains) of the items of each request; NaN for an item without a score.

    `numbers` has all of them, request by request; `lengths` says how many each request has.
    """

    numbers: FloatArray
    lengths: IntArray

    @classmethod
    def of(cls, rows: Sequence[npt.ArrayLike] | npt.NDArray[np.float64]) -> Lists:
        """Return lists of one sequence of numbers for each request. Raises InvalidSample."""
        try:
            arrays = [np.asarray(row, dtype=np.float64) for row in rows]
        except (TypeError, ValueError):
            raise InvalidSample("lists", "not all values are numbers") from None
        if any(array.ndim != 1 for array in arrays):
            raise InvalidSample("lists", "need one flat list of numbers for each request")
        numbers = np.concatenate(arrays) if arrays else np.empty(0)
        if bool(np.any(np.isinf(numbers))):
            raise InvalidSample("lists", "not all values are finite")
        return cls(numbers, np.array([len(array) for array in arrays], dtype=np.int64))

    @classmethod
    def ranked(
        cls, answers: Sequence[Sequence[Hashable] | None], truths: Sequence[Truth]
    ) -> tuple[Lists, Lists]:
        """Return scores and gains from answers (items, the best first) and what was right.

        A truth is a gain for each item (0 for others), several items that are right, or one. Items
        that are right and were not answered count in the best list possible, and gain nothing. An
        item that is answered twice counts once, in its first place. Raises InvalidSample.
        """
        if len(answers) != len(truths):
            raise InvalidSample("pair", f"{len(answers)} lists, {len(truths)} truths")
        scores: list[list[float]] = []
        gains: list[list[float]] = []
        for answer, truth in zip(answers, truths, strict=True):
            gain = _gains(truth)
            items = list(dict.fromkeys(answer or ()))
            others = [item for item in gain if item not in items]
            scores.append([-float(place) for place in range(len(items))] + [math.nan] * len(others))
            gains.append([float(gain.get(item, 0.0)) for item in items + others])
        return cls.of(scores), cls.of(gains)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def requests(self) -> IntArray:
        """For each number, which request it belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def places(self) -> IntArray:
        """For each number, its place in its list: 0, 1, ..."""
        ends = np.cumsum(self.lengths)
        return np.arange(len(self.numbers)) - np.repeat(ends - self.lengths, self.lengths)

    @property
    def is_empty(self) -> BoolArray:
        """Where a list has no number at all: there was no answer."""
        scored = ~np.isnan(self.numbers)
        empty: BoolArray = np.bincount(self.requests[scored], minlength=len(self)) == 0
        return empty

    def take(self, rows: BoolArray) -> Lists:
        return Lists(self.numbers[np.repeat(rows, self.lengths)], self.lengths[rows])

    def check_alike(self, gains: Lists) -> None:
        """Raise InvalidSample unless `gains` has a gain of at least 0 for each of these items."""
        if not np.array_equal(self.lengths, gains.lengths):
            raise InvalidSample("lists", "each item with a score needs a gain, and the other way")
        if not bool(np.all(gains.numbers >= 0)):  # also refuses NaN
            raise InvalidSample("gains", "must be at least 0, and known for each item")


def _gains(truth: Truth) -> dict[Hashable, float]:
    if truth is None:
        return {}
    if isinstance(truth, Mapping):
        return dict(truth)
    if isinstance(truth, Collection) and not isinstance(truth, str | bytes | tuple):
        return dict.fromkeys(truth, 1.0)
    return {truth: 1.0}
