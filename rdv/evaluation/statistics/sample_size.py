"""Compute how many requests an answer needs."""

from __future__ import annotations

import math

from rdv.evaluation.statistics.distributions import normal_quantile
from rdv.evaluation.statistics.errors import InvalidSample
from rdv.evaluation.statistics.sample import check_count, check_share

POWER = 0.8
ERROR_RATE = 0.05


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
