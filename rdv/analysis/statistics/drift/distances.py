"""Distances of two distributions: Kolmogorov-Smirnov, population stability index, quantiles.

Kolmogorov-Smirnov with Stephens' correction (1970). The index (Siddiqi, *Credit Risk Scorecards*,
2006) is over bins of about equal content, which are made from a reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.digest import Digest
from rdv.analysis.statistics.distributions import chi_square_quantile, kolmogorov_sf
from rdv.analysis.statistics.normalisation import quantiles_of
from rdv.analysis.statistics.sample import (
    FloatArray,
    IntArray,
    InvalidSample,
    as_sample,
    check_count,
    check_share,
)

ERROR_RATE = 0.001
_SMOOTHING = 0.5  # added to every bin, so that an empty one does not make the index infinite
BINS = 10
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class KolmogorovSmirnov:
    """`distance` is between 0 and 1. `p_value` is conservative where values repeat."""

    distance: float
    p_value: float


def kolmogorov_smirnov(reference: npt.ArrayLike, window: npt.ArrayLike) -> KolmogorovSmirnov:
    """Make the two-sample test; p-value by the limit with Stephens' correction (1970)."""
    return of_sorted(
        np.sort(as_sample("reference", reference)), np.sort(as_sample("window", window))
    )


def of_sorted(
    reference: npt.NDArray[np.float64], window: npt.NDArray[np.float64]
) -> KolmogorovSmirnov:
    """Do what `kolmogorov_smirnov` does, for samples that are already sorted."""
    # The largest distance is at a value of the window or just before one.
    upto = np.searchsorted(window, window, "right") / len(window)
    before = np.searchsorted(window, window, "left") / len(window)
    reference_upto = np.searchsorted(reference, window, "right") / len(reference)
    reference_before = np.searchsorted(reference, window, "left") / len(reference)
    distance = float(
        max(np.max(np.abs(upto - reference_upto)), np.max(np.abs(before - reference_before)))
    )
    root = math.sqrt(len(reference) * len(window) / (len(reference) + len(window)))
    corrected = (root + 0.12 + 0.11 / root) * distance
    return KolmogorovSmirnov(distance, min(1.0, max(0.0, kolmogorov_sf(corrected))))


@dataclass(frozen=True, slots=True)
class Psi:
    """`value` is 0 for the same distribution; below `by_chance` it may be due to chance alone."""

    value: float
    by_chance: float

    @property
    def significant(self) -> bool:
        return self.value > self.by_chance


def psi(reference: npt.ArrayLike, window: npt.ArrayLike, *, error_rate: float = ERROR_RATE) -> Psi:
    """Compute the index from counts in the same bins (or classes) of reference and window.

    It is the sum of (q - p) log(q / p): Siddiqi, *Credit Risk Scorecards* (2006). Without a change
    it is about (1/n + 1/m) · chi-square with bins - 1 degrees of freedom (Yurdakul & Naranjo,
    *Statistical properties of the population stability index*, 2020), of which `by_chance` is the 1
    - error_rate quantile. Raises InvalidSample.
    """
    check_share("error_rate", error_rate)
    before, after = np.asarray(reference, np.float64), np.asarray(window, np.float64)
    if before.shape != after.shape or before.ndim != 1:
        raise InvalidSample("counts", "must be of the same bins")
    used = before + after > 0
    before, after = before[used], after[used]
    if not (before.sum() > 0 and after.sum() > 0):
        raise InvalidSample("counts", "reference and window both need at least one value")
    if len(before) == 1:
        return Psi(0.0, 0.0)
    p = (before + _SMOOTHING) / (before + _SMOOTHING).sum()
    q = (after + _SMOOTHING) / (after + _SMOOTHING).sum()
    value = float(np.sum((q - p) * np.log(q / p)))
    scale = 1 / before.sum() + 1 / after.sum()
    return Psi(value, float(scale) * chi_square_quantile(1 - error_rate, len(before) - 1))


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


@dataclass(frozen=True, slots=True)
class QuantileShift:
    """The quantile at `level` was `before` and is `after`.

    `spreads` is the shift in widths of the reference's middle half; None if that is 0.
    """

    level: float
    before: float
    after: float
    spreads: float | None


def quantile_shifts(
    reference: npt.ArrayLike | Digest,
    window: npt.ArrayLike | Digest,
    levels: Sequence[float] = LEVELS,
) -> tuple[QuantileShift, ...]:
    """Return the shift at each level. Raises InvalidSample."""
    asked = as_sample("levels", np.asarray(levels, np.float64))
    before, after = quantiles_of(reference, asked), quantiles_of(window, asked)
    quarter, three_quarters = quantiles_of(reference, np.array([0.25, 0.75]))
    spread = float(three_quarters - quarter)
    return tuple(
        QuantileShift(level, was, now, (now - was) / spread if spread > 0 else None)
        for level, was, now in zip(asked.tolist(), before.tolist(), after.tolist(), strict=True)
    )
