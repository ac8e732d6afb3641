"""Distribution functions in plain Python, so that SciPy is not needed at run time. Pure.

Normal, beta, binomial, Student's t, chi-square and Kolmogorov. Beta by a continued fraction
(Lentz's method: Press et al., *Numerical Recipes*, 3rd ed., 6.4; DLMF 8.17.22), chi-square by the
incomplete gamma function's series and continued fraction (ibid., 6.2). They take scalars and are
called a few times for one table, never for each row; tests compare them with SciPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

_SERIES_FROM = 1.18  # below it, the other series converges faster
_CERTAIN_BELOW = 0.04  # below it, 1 to the last digit
_STANDARD = NormalDist()
_STEPS = 200
_TINY = 1e-300
_BETA_PRECISION = 1e-15
_BETA_ROUNDS_MAX = 100_000  # about sqrt(max(a, b)) are needed: enough for a sample of 10^10
_PRECISION = 1e-16
_ROUNDS_MAX = 100_000
_NORMAL_FROM = 1e7  # degrees of freedom beyond which the difference is below 1e-7


def kolmogorov_sf(x: float) -> float:
    """Return P(K > x) for the limit of sqrt(n) D: *Numerical Recipes*, 3rd ed., 6.14.12."""
    if x < _CERTAIN_BELOW:
        return 1.0
    if x < _SERIES_FROM:
        y = math.exp(-(math.pi**2) / (8 * x * x))
        return 1 - math.sqrt(2 * math.pi) / x * (y + y**9 + y**25 + y**49)
    y = math.exp(-2 * x * x)
    return 2 * (y - y**4 + y**9)


def normal_sf(z: float) -> float:
    """Return P(Z > z), by erfc, so that far tails keep their digits."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def normal_quantile(p: float) -> float:
    """Return the z with P(Z <= z) = p, 0 < p < 1."""
    return _STANDARD.inv_cdf(p)


def two_sided_z(confidence: float) -> float:
    """Return how many standard errors there are to each side: 1.96 for 0.95."""
    return _STANDARD.inv_cdf(0.5 + confidence / 2)


def invert(increasing: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Return the x in [low, high] at which `increasing` reaches `target`, to the last digits."""
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if increasing(middle) < target:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


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
        return min(1.0, front * _beta_fraction(x, a, b) / a)
    return max(0.0, 1.0 - front * _beta_fraction(1 - x, b, a) / b)


def beta_quantile(p: float, a: float, b: float) -> float:
    """Return the x with P(X <= x) = p of Beta(a, b)."""
    if p <= 0:
        return 0.0
    if p >= 1:
        return 1.0
    return invert(lambda x: beta_cdf(x, a, b), p, 0.0, 1.0)


def _beta_fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, _away(1 - (a + b) * x / (a + 1))
    d = 1 / d
    total = d
    for m in range(1, _BETA_ROUNDS_MAX):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for part in (even, odd):
            d = 1 / _away(1 + part * d)
            c = _away(1 + part / c)
            change *= c * d
            total *= c * d
        if abs(change - 1) < _BETA_PRECISION:
            break
    return total


def _away(value: float) -> float:
    """Return the value, moved away from zero, by which Lentz's method would divide."""
    return value if abs(value) > _TINY else _TINY


def binomial_pmf(k: int, n: int, p: float) -> float:
    """Return P(X = k) of n trials, 0 < p < 1."""
    if not 0 <= k <= n:
        return 0.0
    log_ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log_ways + k * math.log(p) + (n - k) * math.log1p(-p))


def binomial_cdf(k: int, n: int, p: float) -> float:
    """Return P(X <= k) of n trials."""
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    return beta_cdf(1 - p, n - k, k + 1)


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
    return math.exp(log_front) * _gamma_fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    for n in range(1, _ROUNDS_MAX):
        term *= x / (a + n)
        total += term
        if term < total * _PRECISION:
            break
    return total


def _gamma_fraction(a: float, x: float) -> float:
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


def student_sf(t: float, freedom: float) -> float:
    """Return P(T > t)."""
    if freedom > _NORMAL_FROM:
        return normal_sf(t)
    tail = 0.5 * beta_cdf(freedom / (freedom + t * t), freedom / 2, 0.5)
    return tail if t >= 0 else 1 - tail


def student_quantile(p: float, freedom: float) -> float:
    """Return the t with P(T <= t) = p, 0 < p < 1."""
    if freedom > _NORMAL_FROM:
        return normal_quantile(p)
    if p < 0.5:  # noqa: PLR2004 - the middle
        return -student_quantile(1 - p, freedom)
    # Use the mirrored beta whose result is small, and so keeps its digits.
    y = beta_quantile(2 * p - 1, 0.5, freedom / 2)
    return math.sqrt(freedom * y / (1 - y)) if y < 1 else math.inf


__all__ = [
    "beta_cdf",
    "beta_quantile",
    "binomial_cdf",
    "binomial_pmf",
    "chi_square_quantile",
    "chi_square_sf",
    "kolmogorov_sf",
    "normal_quantile",
    "normal_sf",
    "student_quantile",
    "student_sf",
    "two_sided_z",
]
