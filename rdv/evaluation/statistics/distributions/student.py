"""Compute Student's t distribution."""

from __future__ import annotations

import math

from rdv.evaluation.statistics.distributions.beta import beta_cdf, beta_quantile
from rdv.evaluation.statistics.distributions.normal import normal_quantile, normal_sf

_NORMAL_FROM = 1e7  # degrees of freedom beyond which the difference is below 1e-7


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
