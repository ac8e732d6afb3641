"""Quantiles of waits, with intervals whose unit is the key."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.keys import Keys
from rdv.analysis.metrics.units import KEYS_MIN
from rdv.analysis.statistics import Interval, quantile_interval
from rdv.analysis.statistics.quantile import interval_ranks, nearest_rank

Floats = npt.NDArray[np.float64]


def wait_quantile(
    waits: Floats, level: float, keys: Keys | None, confidence: float = 0.95
) -> Interval:
    """Return a quantile of waits, between two order statistics.

    Where keys have several requests, these count as fewer independent ones, by the design effect of
    the share below the quantile (Kish 1965; Woodruff, JASA 47, 1952).
    """
    exact = quantile_interval(waits, level, confidence)
    if keys is None or len(waits) < 2:  # noqa: PLR2004
        return exact
    _, place = np.unique(keys, return_inverse=True)
    sizes = np.bincount(place).astype(np.float64)
    count = len(waits)
    if len(sizes) == count:
        return exact
    if len(sizes) < KEYS_MIN:
        return Interval(exact.estimate, -math.inf, math.inf, confidence, "too few keys")
    ordered = np.sort(waits)
    middle = ordered[nearest_rank(count, level) - 1]
    # Of a value that many have, the side nearer to the level.
    below, upto = (waits < middle).astype(np.float64), (waits <= middle).astype(np.float64)
    is_in = below if abs(below.mean() - level) < abs(upto.mean() - level) else upto
    share = float(is_in.mean())
    effect = float(sizes @ sizes) / count
    if 0 < share < 1:
        pulls = np.bincount(place, is_in - share)
        effect = max(1.0, float(pulls @ pulls) / (share * (1 - share) * count))
    whole = max(1, int(count / effect))
    low, high = interval_ranks(whole, level, confidence)
    return Interval(
        exact.estimate,
        float(ordered[max(1, math.floor(low * count / whole)) - 1]) if low >= 1 else -math.inf,
        float(ordered[min(count, math.ceil(high * count / whole)) - 1])
        if high <= whole
        else math.inf,
        confidence,
        "order statistics, by key",
    )
