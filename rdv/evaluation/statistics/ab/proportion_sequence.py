"""Compute a share with an interval that stays valid however often one looks, exact from the first
look.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rdv.evaluation.statistics.distributions.search import invert
from rdv.evaluation.statistics.errors import InvalidSample
from rdv.evaluation.statistics.interval import Interval
from rdv.evaluation.statistics.sample import check_share


def proportion_sequence(successes: int, count: int, confidence: float = 0.95) -> Interval:
    """Return all shares p that the evidence does not refute: by Ville's inequality at all times.

    The evidence against p is the likelihood mixed over all shares (a uniform prior) relative to
    that of p: Robbins, *Statistical methods related to the law of the iterated logarithm* (1970).
    Successes must be independent. Raises InvalidSample.
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


def _likelihood(successes: int, failures: int) -> Callable[[float], float]:
    def log_likelihood(p: float) -> float:
        if (p <= 0 and successes) or (p >= 1 and failures):
            return -math.inf
        gained = successes * math.log(p) if successes else 0.0
        return gained + (failures * math.log1p(-p) if failures else 0.0)

    return log_likelihood
