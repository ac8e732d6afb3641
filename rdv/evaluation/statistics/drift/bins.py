"""Bins have about equal content, and are made from a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics.sample import FloatArray, IntArray, as_sample, check_count

BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Bin i holds edges[i-1] <= value < edges[i]; the first and the last are open."""

    edges: FloatArray

    @classmethod
    def of(cls, reference: npt.ArrayLike, bins: int = BINS) -> Bins:
        """Make bins from quantiles. A value that much of the reference has gets a bin of its own.

        Otherwise a model of few different scores, or one that always returned 0, could move without
        leaving its bin. Raises InvalidSample.
        """
        check_count("bins", bins, at_least=2)
        sample = np.sort(as_sample("reference", reference))
        cuts = np.unique(np.quantile(sample, np.arange(1, bins) / bins, method="nearest"))
        held = np.searchsorted(sample, cuts, "right") - np.searchsorted(sample, cuts, "left")
        heavy = cuts[held * 2 * bins >= len(sample)]
        return cls(np.union1d(cuts, np.nextafter(heavy, np.inf)))

    def count(self, values: npt.ArrayLike) -> IntArray:
        """Return how many values are in each bin; counts of chunks can be added up."""
        sample = as_sample("values", values, at_least=0)
        places = np.searchsorted(self.edges, sample, side="right")
        return np.bincount(places, minlength=len(self.edges) + 1).astype(np.int64)
