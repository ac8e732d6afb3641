"""Bounded sets of label values, and histograms. Pure.

A name beyond the limit of its kind counts as OTHER, so that no client, schedule or cohort can make
an unlimited number of series.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

OTHER = "other"
"""The label value of all names beyond the limit."""

Key = tuple[str, ...]


class BoundedNames:
    """The first `limit` names that were seen; all others are OTHER. For one thread at a time."""

    def __init__(self, limit: int, names: Iterable[str] = ()) -> None:
        self._limit = limit
        self.names = dict.fromkeys(names)

    def of(self, name: str | None) -> str:
        """Return the label value for a name; no name is the empty one."""
        if not name:
            return ""
        if name not in self.names:
            if len(self.names) >= self._limit:
                return OTHER
            self.names[name] = None
        return name


class Histograms:
    """Counts of whole microseconds (or other whole numbers) in buckets, by labels.

    A bucket has the values above the bound before it, up to and with its own. A bound that is added
    later splits a bucket: what is in there stays in the upper part, so that no cumulative count
    ever goes back. Bounds are never removed. For one thread at a time.
    """

    def __init__(self, bounds: Iterable[int]) -> None:
        self.bounds = sorted(set(bounds))
        self.counts: dict[Key, npt.NDArray[np.int64]] = {}
        """By labels: one count for each bound, and one for all that is larger."""
        self.sums: dict[Key, int] = {}

    def add_bound(self, bound: int) -> None:
        """Count in finer steps from now on."""
        if bound in self.bounds:
            return
        insort(self.bounds, bound)
        at = self.bounds.index(bound)
        self.counts = {key: np.insert(counts, at, 0) for key, counts in self.counts.items()}

    def add(self, key: Key, values: npt.NDArray[np.int64]) -> None:
        """Count some values."""
        bins = np.searchsorted(self.bounds, values, "left")
        counted = np.bincount(bins, minlength=len(self.bounds) + 1)
        before = self.counts.get(key)
        self.counts[key] = counted if before is None else before + counted
        self.sums[key] = self.sums.get(key, 0) + int(values.sum())

    def cumulative(self, key: Key) -> list[tuple[int | None, int]]:
        """Return the counts up to and with each bound; the last one, without a bound, is of all."""
        counts = np.cumsum(self.counts[key]).tolist()
        return list(zip([*self.bounds, None], counts, strict=True))

    def saved(self) -> SavedHistograms:
        rows = [(key, counts.tolist(), self.sums[key]) for key, counts in self.counts.items()]
        return list(self.bounds), rows

    @classmethod
    def load(cls, saved: SavedHistograms) -> Histograms:
        bounds, rows = saved
        found = cls(bounds)
        for key, counts, total in rows:
            found.counts[key] = np.array(counts, np.int64)
            found.sums[key] = total
        return found


SavedHistograms = tuple[list[int], list[tuple[Key, list[int], int]]]
