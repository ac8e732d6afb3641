"""Intervals of shares, k of n, by Wilson; sample sizes."""

from __future__ import annotations

import math

from rdv.analysis.statistics.distributions import normal_quantile, two_sided_z
from rdv.analysis.statistics.interval import Interval
from rdv.analysis.statistics.sample import InvalidSample, check_count, check_share

POWER = 0.8
ERROR_RATE = 0.05


def wilson(successes: int, count: int, confidence: float = 0.95) -> Interval:
    """Return the score interval of Wilson (1927): right on average, good from small counts on.

    Raises InvalidSample.
    """
    _check(successes, count, confidence)
    z = two_sided_z(confidence)
    share = successes / count
    scale = 1 + z * z / count
    middle = (share + z * z / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == count else middle + half
    return Interval(share, low, high, confidence, "Wilson")


def _check(successes: int, count: int, confidence: float) -> None:
    check_share("confidence", confidence)
    if count < 1 or not 0 <= successes <= count:
        raise InvalidSample("proportion", f"{successes} of {count} is not a share")


def sample_size(
    variance: float, difference: float, *, error_rate: float = ERROR_RATE, power: float = POWER
) -> float:
    """Return how many values of this variance show a mean that is `difference` from 0; inf for 0.

    Two-sided, normal approximation: (z(1 - error_rate/2) + z(power))² · variance / difference²
    (Lachin 1981). For pairs, `variance` is that of the differences and the answer is pairs. For two
    independent arms of equal size it is the sum of both variances and the answer is for *each* arm.
    Raises InvalidSample.
    """
    check_count("variance", variance)
    check_share("error_rate", error_rate)
    check_share("power", power)
    if not math.isfinite(difference):
        raise InvalidSample("difference", "is not finite")
    if difference == 0:
        return math.inf
    z = normal_quantile(1 - error_rate / 2) + normal_quantile(power)
    return math.ceil(z * z * variance / difference**2)
