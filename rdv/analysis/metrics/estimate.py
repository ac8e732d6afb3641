"""Estimates with intervals for one look: of one model, and of the difference of two.

The unit is the key. Where there is too little for an interval, `TooFew` says of what.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rdv.analysis.metrics.interval import (
    SKEW_MAX,
    Span,
    TooFew,
    around_gaps,
    of_difference,
    of_number,
    of_share,
    of_share_with_error,
    student,
    too_moved,
    too_skewed,
)
from rdv.analysis.metrics.mean import mean_of
from rdv.analysis.metrics.metric import Measured, Metric, Undefined
from rdv.analysis.metrics.ragged import Lists
from rdv.analysis.metrics.resample import replicated_gaps, replicates
from rdv.analysis.metrics.sample import Missing, Sample, sample_of
from rdv.analysis.metrics.units import (
    MOVING_MIN,
    Pulls,
    Units,
    effective_keys,
    freedom,
    pulls_of,
    shares_of,
    too_few,
)
from rdv.analysis.statistics.interval import Interval
from rdv.analysis.statistics.sample import FloatArray, InvalidSample, check_share

Bounds = tuple[float, float]
Values = npt.ArrayLike | Lists
Found = Interval | TooFew | Undefined


def estimate(
    metric: Metric,
    values: Values,
    truths: Values | None = None,
    keys: npt.ArrayLike | None = None,
    confidence: float = 0.95,
    *,
    weights: npt.ArrayLike | None = None,
    missing: Missing | None = None,
    positive: Any = None,
    bounds: Bounds | None = None,
) -> Found:
    """Return the metric with an interval for one look, whose unit is the key.

    Without keys every request is a unit of its own. `bounds` cuts the value of each request of a
    mean off at a low and a high end, declared before looking; the interval is then of that mean.
    The other arguments are those of `Metric.of`. Raises InvalidSample.
    """
    check_share("confidence", confidence)
    sample = sample_of(
        metric.needs, values, truths, weights=weights, missing=missing, positive=positive
    )
    measured = metric.measured(sample)
    if isinstance(measured, Undefined):
        return measured
    measured = bounded(metric, measured, sample, bounds)
    units = Units.of(keys, sample.rows, _count(values))
    shares = shares_of(measured, sample.weights, units)
    value, reason = measured.value, too_few(measured, shares, units)
    if reason:
        return TooFew(metric.name, value, reason)
    span = _span(metric, measured, sample, units, shares, confidence)
    if isinstance(span, str):
        return TooFew(metric.name, value, span)
    return Interval(value, span.low, span.high, confidence, method_with(span.method, bounds))


def difference(
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
) -> Found:
    """Return the first's metric minus the second's, of the same requests, for one look.

    A request that is left out because one of the two has no answer is left out for both. Arguments
    as in `estimate`. Raises InvalidSample.
    """
    check_share("confidence", confidence)
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
    reason = pair.too_few()
    if reason:
        return TooFew(metric.name, pair.value, reason)
    span = _span_of_pair(metric, pair, confidence)
    if isinstance(span, str):
        return TooFew(metric.name, pair.value, span)
    return Interval(pair.value, span.low, span.high, confidence, method_with(span.method, bounds))


class Pair(NamedTuple):
    """Two models, measured on the same requests."""

    measured: tuple[Measured, Measured]
    samples: tuple[Sample, Sample]
    units: Units
    shares: tuple[FloatArray, FloatArray]

    @property
    def value(self) -> float:
        return self.measured[0].value - self.measured[1].value

    def too_few(self) -> str:
        """Return why there are too few keys for an interval; empty if there are enough."""
        reasons = (
            too_few(one, share, self.units)
            for one, share in zip(self.measured, self.shares, strict=True)
        )
        return next(filter(None, reasons), "")

    def pulls(self) -> Pulls:
        """Return how far each key moves the difference; for metrics that have an influence."""
        a, b = self.measured
        assert a.influence is not None
        assert b.influence is not None
        both = np.concatenate(self.shares)
        return pulls_of(a.influence - b.influence, self.samples[0].weights, self.units, both)

    def differing(self) -> int:
        """Return how many keys have a request that the two answer differently."""
        a, b = self.samples
        return self.units.having(a.values != b.values)


def paired(
    metric: Metric,
    values: tuple[Values, Values],
    truths: Values | None,
    keys: npt.ArrayLike | None,
    *,
    weights: npt.ArrayLike | None,
    missing: Missing | None,
    positive: Any,
    bounds: Bounds | None,
) -> Pair | Undefined:
    """Return both models, measured on the requests that count for both. Raises InvalidSample."""
    if _count(values[0]) != _count(values[1]):
        counts = f"{_count(values[0])} answers of the first, {_count(values[1])} of the second"
        raise InvalidSample("pair", counts)
    a, b = (
        sample_of(metric.needs, one, truths, weights=weights, missing=missing, positive=positive)
        for one in values
    )
    if len(a) != len(b) or not np.array_equal(a.rows, b.rows):
        a, b = a.take(np.isin(a.rows, b.rows)), b.take(np.isin(b.rows, a.rows))
    found = []
    for sample in (a, b):
        measured = metric.measured(sample)
        if isinstance(measured, Undefined):
            return measured
        found.append(bounded(metric, measured, sample, bounds))
    units = Units.of(keys, a.rows, _count(values[0]))
    shares = (shares_of(found[0], a.weights, units), shares_of(found[1], b.weights, units))
    return Pair((found[0], found[1]), (a, b), units, shares)


def bounded(metric: Metric, measured: Measured, sample: Sample, bounds: Bounds | None) -> Measured:
    """Return the mean of the requests' values, cut off at the bounds. Raises InvalidSample."""
    if bounds is None:
        return measured
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidSample("bounds", f"{low} and {high} are not a low and a high end")
    if measured.rows is None:
        raise InvalidSample("bounds", f"{metric.name} is not a mean over requests")
    return mean_of(sample, np.clip(measured.rows, low, high))


def _span(
    metric: Metric,
    measured: Measured,
    sample: Sample,
    units: Units,
    shares: FloatArray,
    confidence: float,
) -> Span | str:
    """Return the interval of one model, or why there is none."""
    value, effective = measured.value, effective_keys(shares)
    if measured.gaps is not None:
        (drawn,) = replicated_gaps([measured.gaps], sample.weights, units)
        far = around_gaps([drawn], [measured.gaps(sample.weights)], confidence)
        return Span(max(0.0, value - far), min(1.0, value + far), "bootstrap by key")
    multiplier = student(confidence, freedom(shares))
    if measured.reweighted is not None:
        (drawn,) = replicates([measured.reweighted], sample.weights, units)
        span = of_share_with_error(value, _error(drawn), effective, MOVING_MIN, multiplier)
        return Span(span.low, span.high, "bootstrap by key, Wilson")
    assert measured.influence is not None
    pulls = pulls_of(measured.influence, sample.weights, units, shares)
    if metric.spread != "unbounded":
        return of_share(value, pulls, multiplier)
    reason = too_moved(pulls, units.name) or too_skewed(
        pulls.skew, units.count, SKEW_MAX, units.name
    )
    if reason:
        return reason
    span = of_number(value, pulls, multiplier)
    if metric.needs == "value":
        return span
    return Span(max(0.0, span.low), span.high, span.method)  # an error is never below 0


def _span_of_pair(metric: Metric, pair: Pair, confidence: float) -> Span | str:
    """Return the interval of a difference, or why there is none."""
    value, weights, units = pair.value, pair.samples[0].weights, pair.units
    a, b = pair.measured
    multiplier = student(confidence, min(freedom(share) for share in pair.shares))
    if a.influence is not None:
        pulls = pair.pulls()
        reason = "" if metric.is_mean and metric.spread != "unbounded" else moved(pulls, units)
        if metric.spread == "unbounded":
            reason = reason or too_skewed(pulls.skew, units.count, SKEW_MAX, units.name)
        return reason or of_difference(value, pulls, multiplier, metric.spread)
    if pair.differing() < MOVING_MIN:
        return few_differ(pair.differing(), units)
    if a.gaps is not None and b.gaps is not None:
        drawn = replicated_gaps([a.gaps, b.gaps], weights, units)
        far = around_gaps(drawn, [a.gaps(weights), b.gaps(weights)], confidence)
        return Span(max(-1.0, value - far), min(1.0, value + far), "bootstrap by key")
    assert a.reweighted is not None
    assert b.reweighted is not None
    first, second = replicates([a.reweighted, b.reweighted], weights, units)
    error = _error(first - second)
    if error == 0:
        return "the two put the same requests first"
    half = multiplier * error
    return Span(max(-1.0, value - half), min(1.0, value + half), "bootstrap by key, t")


def moved(pulls: Pulls, units: Units) -> str:
    """Return why the two differ on too few keys for an interval; empty if there are enough."""
    return few_differ(pulls.moving, units) if pulls.moving < MOVING_MIN else ""


def few_differ(count: int, units: Units, least: int = MOVING_MIN) -> str:
    """Return the sentence part for two models that differ on too few keys."""
    return f"the two differ on only {count} {units.name}, an interval needs {least}"


def _error(drawn: FloatArray) -> float:
    """Return the standard error, from the replicates that have a value."""
    known = drawn[~np.isnan(drawn)]
    return float(known.std(ddof=1)) if len(known) > 1 else 0.0


def method_with(method: str, bounds: Bounds | None) -> str:
    """Return the name of a method, with the bounds of the values if there are any."""
    return method if bounds is None else f"{method}; values cut at {bounds[0]:g} and {bounds[1]:g}"


def _count(values: Values) -> int:
    return len(values) if isinstance(values, Lists) else len(np.asarray(values))
