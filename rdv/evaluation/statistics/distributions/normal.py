"""The normal distribution."""

from __future__ import annotations

import math
from statistics import NormalDist

_STANDARD = NormalDist()


def normal_sf(z: float) -> float:
    """P(Z > z). By erfc, so that far tails keep their digits."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def normal_quantile(p: float) -> float:
    """The z with P(Z <= z) = p, 0 < p < 1."""
    return _STANDARD.inv_cdf(p)


def two_sided_z(confidence: float) -> float:
    """1.96 for 0.95: how many standard errors to each side."""
    return _STANDARD.inv_cdf(0.5 + confidence / 2)
