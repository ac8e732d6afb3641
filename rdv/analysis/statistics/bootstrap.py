"""Compute intervals for any statistic by resampling the data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.distributions import normal_quantile, normal_sf
from rdv.analysis.statistics.interval import Interval
from rdv.analysis.statistics.sample import (
    FloatArray,
    InvalidSample,
    as_sample,
    check_share,
    same_length,
)

RESAMPLES = 2000
RESAMPLES_MAX = 100_000
_JACKKNIFE_MAX = 500  # beyond it, the acceleration is estimated from groups of rows

Statistic = Callable[..., float]
"""Takes as many arrays as were given, all of one length, and returns one number."""


def bootstrap_interval(
    statistic: Statistic,
    *samples: npt.ArrayLike,
    seed: int,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the BCa interval of `statistic(*samples)`; rows are drawn together, as pairs.

    Efron & Tibshirani, *An Introduction to the Bootstrap*, 14.3. The same seed gives the same
    interval. The rows must be independent: requests of one key are not, so give one row for each
    key. It calls the statistic `resamples` times: for means and shares of millions of rows there
    are closed intervals. Raises InvalidSample.
    """
    check_share("confidence", confidence)
    if not 1 <= resamples <= RESAMPLES_MAX:
        raise InvalidSample("resamples", f"{resamples} is not between 1 and {RESAMPLES_MAX}")
    arrays = _rows(samples)
    estimate = float(statistic(*arrays))
    drawn = _draw(statistic, arrays, resamples, seed)
    if drawn[0] == drawn[-1]:
        return Interval(estimate, drawn[0], drawn[0], confidence, "bootstrap BCa")
    bias = _bias(drawn, estimate)
    acceleration = _acceleration(statistic, arrays)
    tail = (1 - confidence) / 2
    low, high = (
        float(np.quantile(drawn, _corrected(share, bias, acceleration)))
        for share in (tail, 1 - tail)
    )
    return Interval(estimate, low, high, confidence, "bootstrap BCa")


def _rows(samples: tuple[npt.ArrayLike, ...]) -> list[FloatArray]:
    if not samples:
        raise InvalidSample("samples", "none were given")
    arrays = [as_sample("sample", sample, at_least=2) for sample in samples]
    for other in arrays[1:]:
        same_length(arrays[0], other)
    return arrays


def _draw(statistic: Statistic, arrays: list[FloatArray], resamples: int, seed: int) -> FloatArray:
    chance = np.random.default_rng(seed)
    count = len(arrays[0])
    drawn = np.empty(resamples)
    for number in range(resamples):
        rows = chance.integers(0, count, count)
        drawn[number] = statistic(*(array[rows] for array in arrays))
    if not np.isfinite(drawn).all():
        raise InvalidSample("statistic", "is not finite for some resamples")
    drawn.sort()
    return drawn


def _bias(drawn: FloatArray, estimate: float) -> float:
    below = float(np.mean(drawn < estimate) + np.mean(drawn <= estimate)) / 2
    edge = 0.5 / len(drawn)
    return normal_quantile(min(max(below, edge), 1 - edge))


def _acceleration(statistic: Statistic, arrays: list[FloatArray]) -> float:
    """Return the acceleration by the jackknife; by groups of rows if there are many."""
    count = len(arrays[0])
    groups = np.array_split(np.arange(count), min(count, _JACKKNIFE_MAX))
    left_out = np.array(
        [statistic(*(np.delete(array, group) for array in arrays)) for group in groups]
    )
    away = left_out.mean() - left_out
    spread = float(np.sum(away**2))
    return float(np.sum(away**3)) / (6 * spread**1.5) if spread > 0 else 0.0


def _corrected(share: float, bias: float, acceleration: float) -> float:
    z = bias + normal_quantile(share)
    return normal_sf(-(bias + z / (1 - acceleration * z)))
