"""Confidence sequences: intervals that stay valid however often one looks.

For means: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, *Time-uniform central limit theory and
asymptotic confidence sequences*, Annals of Statistics 52 (2024), theorem 2.2. For shares, exact
from the first look: a mixture (beta-binomial) after Robbins (1970).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rdv.analysis.statistics.distributions import invert
from rdv.analysis.statistics.interval import Interval
from rdv.analysis.statistics.sample import InvalidSample, check_count, check_share

TIGHTEST_AT = 10_000
"""The number of units at which the interval is tightest relative to one made for one look only."""

METHOD = "asymptotic confidence sequence"


def mean_sequence(
    mean: float,
    variance: float,
    count: int,
    confidence: float = 0.95,
    *,
    tightest_at: int = TIGHTEST_AT,
) -> Interval:
    """Return the interval of a mean of independent values, valid at all times together.

    It is valid for large counts, as a t-interval is: not for the first hundred or so values
    (callers here wait, see `effect`). `tightest_at` must be fixed before looking; it is not
    critical: ten times too low costs 7 % of the width there, ten times too high 27 %. Raises
    InvalidSample.
    """
    check_share("confidence", confidence)
    _check(mean, variance, count)
    rho2 = _rho_squared(1 - confidence, tightest_at)
    spread = count * rho2 + 1
    boundary = math.log(math.sqrt(spread) / (1 - confidence))
    half = math.sqrt(variance * 2 * spread / (count * count * rho2) * boundary)
    return Interval(mean, mean - half, mean + half, confidence, METHOD, peeking=True)


def always_valid_p(
    mean: float,
    variance: float,
    count: int,
    *,
    confidence: float = 0.95,
    tightest_at: int = TIGHTEST_AT,
) -> float:
    """Return the p-value for "the mean is 0" that is valid at any time.

    It is below 1 - confidence exactly if `mean_sequence` of the same settings excludes 0.
    """
    check_share("confidence", confidence)
    _check(mean, variance, count)
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    rho2 = _rho_squared(1 - confidence, tightest_at)
    spread = count * rho2 + 1
    exponent = mean * mean * count * count * rho2 / (2 * variance * spread)
    return min(1.0, math.exp(min(0.0, 0.5 * math.log(spread) - exponent)))


def _rho_squared(error_rate: float, tightest_at: int) -> float:
    """Return the mixture's width that is best at that count: the paper's appendix B.2."""
    check_count("tightest_at", tightest_at, at_least=1)
    twice = -2 * math.log(error_rate)
    return (twice + math.log(twice + 1)) / tightest_at


def _check(mean: float, variance: float, count: int) -> None:
    check_count("count", count, at_least=1)
    check_count("variance", variance)
    if not math.isfinite(mean):
        raise InvalidSample("mean", "is not finite")


def proportion_sequence(successes: float, count: float, confidence: float = 0.95) -> Interval:
    """Return all shares p that the evidence does not refute: by Ville's inequality at all times.

    The evidence against p is the likelihood mixed over all shares (a uniform prior) relative to
    that of p: Robbins, *Statistical methods related to the law of the iterated logarithm* (1970).
    Successes must be independent; where they are not, both counts may be divided by the design
    effect, and so be fractions. Raises InvalidSample.
    """
    check_share("confidence", confidence)
    if count < 1 or not 0 <= successes <= count:
        raise InvalidSample("proportion", f"{successes} of {count} is not a share")
    failures = count - successes
    mixed = math.lgamma(successes + 1) + math.lgamma(failures + 1) - math.lgamma(count + 2)
    limit = mixed + math.log(1 - confidence)  # p is refuted when it makes the data less likely
    likelihood = _likelihood(successes, failures)
    share = successes / count
    low = 0.0 if successes == 0 else invert(likelihood, limit, 0.0, share)
    high = 1.0 if failures == 0 else 1 - invert(lambda q: likelihood(1 - q), limit, 0.0, 1 - share)
    return Interval(share, low, high, confidence, "beta mixture, Robbins", peeking=True)


def _likelihood(successes: float, failures: float) -> Callable[[float], float]:
    def log_likelihood(p: float) -> float:
        if (p <= 0 and successes) or (p >= 1 and failures):
            return -math.inf
        gained = successes * math.log(p) if successes else 0.0
        return gained + (failures * math.log1p(-p) if failures else 0.0)

    return log_likelihood
