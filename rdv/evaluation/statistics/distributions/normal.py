"""Compute the normal distribution."""

from __future__ import annotations

import math
from statistics import NormalDist

_STANDARD = NormalDist()


def normal_sf(z: float) -> float:
    """Return P(Z > z), by erfc, so that far tails keep their digits."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def normal_quantile(p: float) -> float:
    """Return the z with P(Z <= z) = p, 0 < p < 1."""
    return _STANDARD.inv_cdf(p)


def two_sided_z(confidence: float) -> float:
    """Return how many standard errors there are to each side: 1.96 for 0.95."""
    return _STANDARD.inv_cdf(0.5 + confidence / 2)
