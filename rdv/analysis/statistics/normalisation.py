"""Normalisation makes scores of models with different scales comparable by their quantiles.

Two models may rank requests alike and yet disagree in every number. A score's *rank*, the share of
scores at or below it (ties counted half), means the same for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.digest import Digest
from rdv.analysis.statistics.sample import FloatArray, InvalidSample, as_sample

POINTS_MAX = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Normaliser:
    """Converts between a model's scores and their ranks in (0, 1). Made once, from a reference.

    `scores` rise strictly, `levels` are their ranks; in between it is linear. Bolstad et al., *A
    comparison of normalization methods …*, Bioinformatics 19 (2003), for two samples.
    """

    scores: FloatArray
    levels: FloatArray

    @classmethod
    def of(cls, reference: npt.ArrayLike | Digest) -> Normaliser:
        """Make a normaliser: exact, or within a digest's error. Raises InvalidSample."""
        if isinstance(reference, Digest):
            return cls(*reference.curve())
        sample = as_sample("reference", reference)
        scores, counts = np.unique(sample, return_counts=True)
        return cls(scores, (np.cumsum(counts) - counts / 2) / len(sample))

    def ranks(self, scores: npt.ArrayLike) -> FloatArray:
        """Return the rank of each score: 0 below all of the reference, 1 above all of it."""
        sample = as_sample("scores", scores, at_least=0)
        return np.interp(sample, self.scores, self.levels, left=0.0, right=1.0)


@dataclass(frozen=True, slots=True, eq=False)
class QuantilePairs:
    """A Q-Q plot: at each of `levels`, the quantiles of the first and the second."""

    levels: FloatArray
    first: FloatArray
    second: FloatArray


def quantile_pairs(
    first: npt.ArrayLike | Digest, second: npt.ArrayLike | Digest, points: int = 99
) -> QuantilePairs:
    """Return Q-Q points at the levels (i - 0.5) / points. Raises InvalidSample."""
    if not 1 <= points <= POINTS_MAX:
        raise InvalidSample("points", f"{points} is not between 1 and {POINTS_MAX}")
    levels = (np.arange(points) + 0.5) / points
    return QuantilePairs(levels, quantiles_of(first, levels), quantiles_of(second, levels))


def quantiles_of(values: npt.ArrayLike | Digest, levels: FloatArray) -> FloatArray:
    """Return quantiles of values or of their digest, interpolated."""
    if isinstance(values, Digest):
        return values.quantiles(levels)
    found: FloatArray = np.quantile(as_sample("values", values), levels)
    return found
