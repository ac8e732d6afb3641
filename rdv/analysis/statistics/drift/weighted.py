"""Samples whose values have weights: a key counts once, and hours of the day as often as wanted.

Requests of one key are alike, so that a burst of them is no evidence: they share the weight of one.
`effective` is how many independent values a sample is worth (Kish, *Survey Sampling*, 1965), with
the key as the unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.distributions import kolmogorov_sf
from rdv.analysis.statistics.drift.distances import KolmogorovSmirnov
from rdv.analysis.statistics.sample import FloatArray

TAIL = 0.01
"""The share of the reference beyond the level from which on values are in a tail."""
_TERM_MIN = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rising values, their weights (which add up to 1), and how many values it is worth."""

    values: FloatArray
    weights: FloatArray
    effective: float

    @classmethod
    def of(
        cls,
        values: FloatArray,
        weights: FloatArray | None = None,
        keys: npt.NDArray[np.uint64] | None = None,
    ) -> Sample:
        """Return a sample; without keys each value is of its own, without weights all are equal."""
        if weights is None:
            weights = np.ones(len(values))
        order = np.argsort(values, kind="stable")
        total = float(weights.sum())
        if total <= 0:
            return cls(np.empty(0), np.empty(0), 0.0)
        if keys is None:
            of_keys = weights
        else:
            _, place = np.unique(keys, return_inverse=True)
            of_keys = np.asarray(np.bincount(place, weights), np.float64)
        effective = total * total / float(of_keys @ of_keys)
        return cls(values[order], weights[order] / total, effective)

    def __len__(self) -> int:
        return len(self.values)

    def upto(self, points: FloatArray, side: str = "right") -> FloatArray:
        """Return the share of values up to each point; with "left" the share of those below it."""
        sums = np.concatenate([[0.0], np.cumsum(self.weights)])
        places = np.searchsorted(self.values, points, "right" if side == "right" else "left")
        found: FloatArray = sums[places]
        return found

    def quantile(self, level: float) -> float:
        """Return the smallest value up to which at least this share lies."""
        sums = np.cumsum(self.weights)
        at = int(np.searchsorted(sums, level - 1e-12))
        return float(self.values[min(at, len(self.values) - 1)])


def distance(reference: Sample, window: Sample) -> KolmogorovSmirnov:
    """Return what `kolmogorov_smirnov` does, for samples with weights."""
    points = window.values
    largest = max(
        float(np.max(np.abs(window.upto(points, side) - reference.upto(points, side))))
        for side in ("left", "right")
    )
    n, m = reference.effective, window.effective
    root = math.sqrt(n * m / (n + m))
    corrected = (root + 0.12 + 0.11 / root) * largest
    return KolmogorovSmirnov(largest, min(1.0, max(0.0, kolmogorov_sf(corrected))))


@dataclass(frozen=True, slots=True)
class Tail:
    """How many more values than in the reference lie beyond one of its outer levels.

    A new cluster of a few percent, far away, moves neither the index nor the distance by much.
    `excess` is the larger share of both sides, `p_value` is for both together.
    """

    excess: float
    p_value: float


def tail(reference: Sample, window: Sample, level: float = TAIL) -> Tail:
    """Compare the shares beyond the outer `level` of the reference on both sides.

    The share beyond an order statistic of n values has a beta distribution, so that the count among
    the window's is beta-binomial: exact for independent continuous values.
    """
    low, high = reference.quantile(level), reference.quantile(1 - level)
    beyond = (
        (
            float(reference.upto(np.array([low]), "left")[0]),
            float(window.upto(np.array([low]), "left")[0]),
        ),
        (
            1 - float(reference.upto(np.array([high]))[0]),
            1 - float(window.upto(np.array([high]))[0]),
        ),
    )
    excess = max(now - before for before, now in beyond)
    if excess < level:
        return Tail(excess, 1.0)
    count = round(window.effective)
    p_values = [
        _beyond_by_chance(before * reference.effective, reference.effective, now * count, count)
        for before, now in beyond
    ]
    return Tail(excess, min(1.0, 2 * min(p_values)))


def _beyond_by_chance(before: float, size: float, now: float, count: int) -> float:
    """Return the chance of at least `now` of `count`, if `before` of `size` lay there."""
    least = math.floor(now + 1e-9)
    if least <= 0:
        return 1.0
    a = max(1.0, before + 1)
    b = max(1.0, size + 1 - a)
    if least <= count * a / (a + b):
        return 1.0
    term = math.exp(
        math.lgamma(count + 1) - math.lgamma(least + 1) - math.lgamma(count - least + 1)
        + math.lgamma(a + least) + math.lgamma(b + count - least) - math.lgamma(a + b + count)
        + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    )  # fmt: skip
    total = 0.0
    for n in range(least, count + 1):
        total += term
        if term < _TERM_MIN * total:
            break
        term *= (count - n) / (n + 1) * (a + n) / (b + count - n - 1) if n < count else 0.0
    return min(1.0, total)
