"""Compute 95 % intervals of shares, of quantiles, and of paired differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Z = 1.959963984540054
ROUNDS = 2_000


def share_interval(hits: float, count: int) -> tuple[float, float]:
    """Return Wilson's score interval (Wilson, JASA 22, 1927), valid for small counts and shares
    near 1.
    """
    if not count:
        return 0.0, 1.0
    share = hits / count
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count)
    half *= math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def quantile_interval(values: npt.NDArray[np.int64], share: float) -> tuple[float, float, float]:
    """Return (low, quantile, high) by order statistics.

    Ranks come from the normal limit of the binomial (Conover, Practical Nonparametric Statistics,
    3.2). `values` need not be sorted.
    """
    ordered = np.sort(values)
    count = len(ordered)
    at = share * count
    spread = Z * math.sqrt(count * share * (1 - share))

    def rank(place: float) -> float:
        return float(ordered[min(count - 1, max(0, math.ceil(place - 1e-9) - 1))])

    return rank(at - spread), rank(at), rank(at + spread + 1)


def difference_interval(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Return (low, mean of a - b, high) of paired 0s and 1s, by bootstrap (Efron 1979).

    A resample of pairs depends only on how many of them are +1, 0 and -1: it is one multinomial
    draw. The draws are the same in every run.
    """
    difference = a - b
    count = len(difference)
    if not count:
        return 0.0, 0.0, 0.0
    better, worse = float((difference > 0).sum()), float((difference < 0).sum())
    shares = [better / count, worse / count, (count - better - worse) / count]
    draws = np.random.default_rng(0).multinomial(count, shares, ROUNDS)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / count, [0.025, 0.975])
    return float(low), (better - worse) / count, float(high)
