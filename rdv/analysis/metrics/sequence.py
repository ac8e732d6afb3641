"""Repeated looks: an always-valid sequence for means, and a level spread over declared looks.

The sequence is the asymptotic one of `rdv.analysis.statistics.ab.sequence` (Waudby-Smith et al.,
Annals of Statistics 52, 2024, theorem 2.2), over keys and through Hall's cubic, so that it reaches
further on the side of the long tail. It begins when there are enough keys for the skewness that is
seen. Two cohorts get a sequence each, which are combined by Newcombe's square-and-add: the tails of
a small cohort and of a large one do not cancel, as they would in the pooled variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rdv.analysis.metrics.errors import NoSequence
from rdv.analysis.metrics.estimate import (
    Bounds,
    Found,
    Pair,
    Values,
    few_differ,
    method_with,
    paired,
)
from rdv.analysis.metrics.interval import TooFew, of_difference, skewed, student, too_skewed
from rdv.analysis.metrics.metric import Metric, Undefined
from rdv.analysis.metrics.sample import Missing
from rdv.analysis.metrics.units import EFFECTIVE_MIN, Pulls
from rdv.analysis.statistics.ab.sequence import TIGHTEST_AT, mean_sequence
from rdv.analysis.statistics.distributions import normal_sf, two_sided_z
from rdv.analysis.statistics.interval import Interval
from rdv.analysis.statistics.sample import (
    FloatArray,
    InvalidSample,
    as_sample,
    check_count,
    check_share,
    same_length,
)

KEYS_MIN = 100
"""The minimum number of keys, of each cohort: the sequence is valid for large counts only."""
RARE_MIN = 20
"""The minimum number of keys that differ from the rest, for the same reason."""
SKEW_MAX = 0.3
"""The maximum skewness of the estimate: more than 11 G² keys, for the skewness G of one key."""
LOOKS_MAX = 10_000

METHOD = "confidence sequence, by key"
Spending = Literal["even", "late"]


def sequence(
    metric: Metric,
    first: Values,
    second: Values,
    truths: Values | None = None,
    keys: npt.ArrayLike | None = None,
    confidence: float = 0.95,
    *,
    weights: npt.ArrayLike | None = None,
    missing: Missing | None = None,
    positive: Any = None,
    bounds: Bounds | None = None,
    tightest_at: int = TIGHTEST_AT,
) -> Found:
    """Return the first's mean minus the second's, of the same requests, valid at all looks.

    `TooFew` while it is too early. Fix `tightest_at` (keys) and `bounds` before looking. Arguments
    as in `difference`. Raises InvalidSample, and NoSequence for a metric that is not a mean.
    """
    check_share("confidence", confidence)
    if not metric.is_mean:
        raise NoSequence(metric.name)
    pair = paired(
        metric,
        (first, second),
        truths,
        keys,
        weights=weights,
        missing=missing,
        positive=positive,
        bounds=bounds,
    )
    if isinstance(pair, Undefined):
        return pair
    pulls = pair.pulls()
    reason = _too_early(metric, pair, pulls)
    if reason:
        return TooFew(metric.name, pair.value, reason)
    multiplier = _multiplier(pulls.effective, confidence, tightest_at)
    span = of_difference(pair.value, pulls, multiplier, metric.spread)
    method = method_with(METHOD, bounds)
    return Interval(pair.value, span.low, span.high, confidence, method, peeking=True)


def _too_early(metric: Metric, pair: Pair, pulls: Pulls) -> str:
    units = pair.units
    if units.count < KEYS_MIN:
        return f"only {units.count} {units.name}, a sequence begins at {KEYS_MIN}"
    if pulls.moving < RARE_MIN and metric.spread == "unbounded":
        return few_differ(pulls.moving, units, RARE_MIN)
    reason = pair.too_few()
    if reason or metric.spread == "share":  # the form for shares needs no skewness
        return reason
    return too_skewed(pulls.skew, units.count, SKEW_MAX, units.name)


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Sums by key of one cohort: of a metric's values, and of the requests (or of their weights).

    Keys must be independent and each in one cohort only. Keys without requests do not count.
    """

    totals: FloatArray
    requests: FloatArray

    @classmethod
    def of(cls, totals: npt.ArrayLike, requests: npt.ArrayLike) -> Cohort:
        """Return the checked sums. Raises InvalidSample."""
        sums, counts = as_sample("totals", totals), as_sample("requests", requests)
        same_length(sums, counts)
        if bool(np.any(counts < 0)) or not bool(np.any(counts > 0)):
            raise InvalidSample("requests", "must not be negative, and not all 0")
        there = counts > 0
        return cls(sums[there], counts[there])

    @property
    def mean(self) -> float:
        """The mean over requests."""
        return float(self.totals.sum() / self.requests.sum())

    def pulls(self) -> Pulls:
        """Return how far each key moves the mean."""
        share = self.requests / self.requests.sum()
        away = (self.totals - self.mean * self.requests) / self.requests.sum()
        effective = 1 / float(share @ share)
        return Pulls(away / np.sqrt(1 - np.minimum(share, 0.99)), effective)

    def rarer(self) -> int:
        """Return how many keys do not have the commonest mean value."""
        _, counts = np.unique(self.totals / self.requests, return_counts=True)
        return len(self.totals) - int(counts.max())


def cohort_sequence(
    metric: str,
    first: Cohort,
    second: Cohort,
    confidence: float = 0.95,
    *,
    tightest_at: int = TIGHTEST_AT,
) -> Interval | TooFew:
    """Return the first cohort's mean minus the second's, valid at all looks; TooFew if too early.

    `metric` is a name for the result. Fix `tightest_at` (keys in both) before looking. Raises
    InvalidSample.
    """
    check_share("confidence", confidence)
    value = first.mean - second.mean
    pulls = (first.pulls(), second.pulls())
    for name, cohort, pull in zip(("first", "second"), (first, second), pulls, strict=True):
        reason = _too_early_cohort(cohort, pull)
        if reason:
            return TooFew(metric, value, f"the {name} cohort: {reason}")
    multiplier = _multiplier(sum(pull.effective for pull in pulls), confidence, tightest_at)
    below, above = [], []
    for pull in pulls:
        low, high = skewed(0.0, pull.error, pull.skew, multiplier)
        below.append(-low)
        above.append(high)
    low, high = value - math.hypot(below[0], above[1]), value + math.hypot(above[0], below[1])
    return Interval(value, low, high, confidence, METHOD, peeking=True)


def _too_early_cohort(cohort: Cohort, pulls: Pulls) -> str:
    count = len(cohort.totals)
    if count < KEYS_MIN:
        return f"only {count} keys, a sequence begins at {KEYS_MIN}"
    if cohort.rarer() < RARE_MIN:
        return f"only {cohort.rarer()} keys differ from the commonest value, it takes {RARE_MIN}"
    if pulls.effective < EFFECTIVE_MIN:
        return "one key has most of the requests"
    return too_skewed(pulls.skew, count, SKEW_MAX, "keys")


def _multiplier(count: float, confidence: float, tightest_at: int) -> float:
    """Return how many standard errors the sequence reaches at this many keys."""
    keys = max(1, int(count))
    half = mean_sequence(0.0, 1.0, keys, confidence, tightest_at=tightest_at).high
    exact = student(confidence, count) / two_sided_z(confidence)
    return half * math.sqrt(keys) * exact


def looks(confidence: float, total: int, spending: Spending = "even") -> tuple[float, ...]:
    """Return the confidence of each of `total` declared looks, so that all together have it.

    "even" gives each look the same (Bonferroni). "late" saves the level for the last looks, as
    O'Brien & Fleming's boundary does: the spending function of Lan & DeMets (Biometrika 70, 1983),
    whose increments are used as they are. Both hold for any metric, however the looks depend on
    each other. Raises InvalidSample.
    """
    check_share("confidence", confidence)
    check_count("looks", total, at_least=1)
    if total > LOOKS_MAX:
        raise InvalidSample("looks", f"{total} are more than {LOOKS_MAX}")
    level = 1 - confidence
    if spending == "even":
        return (1 - level / total,) * total
    z = two_sided_z(confidence)
    spent = np.array([2 * normal_sf(z / math.sqrt(k / total)) for k in range(1, total + 1)])
    steps = np.maximum(np.diff(spent, prepend=0.0), level / (1000 * total))
    return tuple((1 - level * steps / steps.sum()).tolist())
