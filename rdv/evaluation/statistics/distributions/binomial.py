"""Compute the binomial distribution."""

from __future__ import annotations

import math

from rdv.evaluation.statistics.distributions.beta import beta_cdf


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
