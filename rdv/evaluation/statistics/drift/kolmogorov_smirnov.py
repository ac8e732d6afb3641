"""Compute the largest distance between two empirical distributions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics.distributions import kolmogorov_sf
from rdv.evaluation.statistics.sample import as_sample


@dataclass(frozen=True, slots=True)
class KolmogorovSmirnov:
    """`distance` is between 0 and 1. `p_value` is conservative where values repeat."""

    distance: float
    p_value: float


def kolmogorov_smirnov(reference: npt.ArrayLike, window: npt.ArrayLike) -> KolmogorovSmirnov:
    """Make the two-sample test; p-value by the limit with Stephens' correction (1970). Sorts
    both.
    """
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
