"""Compute the Kolmogorov distribution: how far two empirical distributions are apart by chance."""

from __future__ import annotations

import math

_SERIES_FROM = 1.18  # below it, the other series converges faster
_CERTAIN_BELOW = 0.04  # below it, 1 to the last digit


def kolmogorov_sf(x: float) -> float:
    """Return P(K > x) for the limit of sqrt(n) D. Press et al., *Numerical Recipes*, 3rd ed.,
    6.14.12.
    """
    if x < _CERTAIN_BELOW:
        return 1.0
    if x < _SERIES_FROM:
        y = math.exp(-(math.pi**2) / (8 * x * x))
        return 1 - math.sqrt(2 * math.pi) / x * (y + y**9 + y**25 + y**49)
    y = math.exp(-2 * x * x)
    return 2 * (y - y**4 + y**9)
