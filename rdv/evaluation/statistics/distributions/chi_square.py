"""Compute the chi-square distribution: the regularised incomplete gamma function.

Series and continued fraction: Press et al., *Numerical Recipes*, 3rd ed., 6.2.
"""

from __future__ import annotations

import math

from rdv.evaluation.statistics.distributions.search import invert

_PRECISION = 1e-16
_ROUNDS_MAX = 100_000
_TINY = 1e-300


def chi_square_sf(x: float, freedom: float) -> float:
    """Return P(X > x)."""
    if x < _TINY:
        return 1.0
    return _upper_gamma(freedom / 2, x / 2)


def chi_square_quantile(p: float, freedom: float) -> float:
    """Return the x with P(X <= x) = p, 0 < p < 1."""
    high = freedom + 1
    while chi_square_sf(high, freedom) > 1 - p:
        high *= 2
    return invert(lambda x: 1 - chi_square_sf(x, freedom), p, 0.0, high)


def _upper_gamma(a: float, x: float) -> float:
    log_front = a * math.log(x) - x - math.lgamma(a)
    if x < a + 1:
        return max(0.0, 1 - math.exp(log_front) * _series(a, x))
    return math.exp(log_front) * _fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    for n in range(1, _ROUNDS_MAX):
        term *= x / (a + n)
        total += term
        if term < total * _PRECISION:
            break
    return total


def _fraction(a: float, x: float) -> float:
    b = x + 1 - a
    c, d = 1e300, 1 / b
    total = d
    for n in range(1, _ROUNDS_MAX):
        part = -n * (n - a)
        b += 2
        d = 1 / (part * d + b or 1e-300)
        c = b + part / c or 1e-300
        total *= c * d
        if abs(c * d - 1) < _PRECISION * 10:
            break
    return total
