"""Compute the beta distribution, on which binomial, Student and Clopper-Pearson are based.

Continued fraction by Lentz's method: Press et al., *Numerical Recipes*, 3rd ed., 6.4; DLMF 8.17.22.
"""

from __future__ import annotations

import math

from rdv.evaluation.statistics.distributions.search import invert

_TINY = 1e-300
_PRECISION = 1e-15
_ROUNDS_MAX = 100_000  # about sqrt(max(a, b)) are needed: enough for a sample of 10^10


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return P(X <= x) of Beta(a, b): the regularised incomplete beta function. a, b > 0."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    front = math.exp(log_front)
    if x < (a + 1) / (a + b + 2):
        return min(1.0, front * _fraction(x, a, b) / a)
    return max(0.0, 1.0 - front * _fraction(1 - x, b, a) / b)


def beta_quantile(p: float, a: float, b: float) -> float:
    """Return the x with P(X <= x) = p of Beta(a, b)."""
    if p <= 0:
        return 0.0
    if p >= 1:
        return 1.0
    return invert(lambda x: beta_cdf(x, a, b), p, 0.0, 1.0)


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, _away(1 - (a + b) * x / (a + 1))
    d = 1 / d
    total = d
    for m in range(1, _ROUNDS_MAX):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for part in (even, odd):
            d = 1 / _away(1 + part * d)
            c = _away(1 + part / c)
            change *= c * d
            total *= c * d
        if abs(change - 1) < _PRECISION:
            break
    return total


def _away(value: float) -> float:
    """Return the value, moved away from zero, by which Lentz's method would divide."""
    return value if abs(value) > _TINY else _TINY
