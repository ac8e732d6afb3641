"""Compute quantiles, with intervals that assume nothing about the distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.distributions import binomial_cdf
from rdv.analysis.statistics.interval import Interval
from rdv.analysis.statistics.sample import FloatArray, as_sample, check_share


def quantile_interval(values: npt.ArrayLike, level: float, confidence: float = 0.95) -> Interval:
    """Return the quantile at `level` (0.99 for p99), between two order statistics.

    The estimate is the nearest rank, ceil(n·level). Exact for any distribution: how many of n
    values are below the true quantile is binomial (Conover, *Practical Nonparametric Statistics*,
    3rd ed., 3.2). A side with too few values is unbounded.
    """
    return quantile_intervals(values, [level], confidence)[0]


def quantile_intervals(
    values: npt.ArrayLike, levels: Sequence[float], confidence: float = 0.95
) -> list[Interval]:
    """Return `quantile_interval` at several levels, with one sort. Raises InvalidSample."""
    ordered = np.sort(as_sample("values", values))
    return [_interval(ordered, level, confidence) for level in levels]


def interval_ranks(count: int, level: float, confidence: float) -> tuple[int, int]:
    """Return the order statistics (from 1) that bound the quantile; 0 or count + 1: none does."""
    check_share("level", level)
    check_share("confidence", confidence)
    tail = (1 - confidence) / 2
    return _last_at_most(count, level, tail), _last_at_most(count, level, 1 - tail) + 1


def nearest_rank(count: int, level: float) -> int:
    """Return the rank (from 1) of the quantile: the smallest with that share at or below it."""
    return min(count, max(1, math.ceil(count * level - 1e-9)))


def _interval(ordered: FloatArray, level: float, confidence: float) -> Interval:
    count = len(ordered)
    low, high = interval_ranks(count, level, confidence)
    return Interval(
        float(ordered[nearest_rank(count, level) - 1]),
        float(ordered[low - 1]) if low >= 1 else -math.inf,
        float(ordered[high - 1]) if high <= count else math.inf,
        confidence,
        "order statistics",
    )


def _last_at_most(count: int, level: float, probability: float) -> int:
    """Return the largest k in 0..count with P(fewer than k values are below) <= probability."""
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        if binomial_cdf(middle - 1, count, level) <= probability:
            low = middle
        else:
            high = middle - 1
    return low
