"""Metrics of probabilities: log loss, Brier score, calibration.

A missing probability that counts as wrong is one of 1 for the wrong side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.analysis.metrics.mean import mean_of
from rdv.analysis.metrics.metric import ONE_CLASS, Measured, Undefined, has_one_class
from rdv.analysis.metrics.sample import Missing, Sample, sample_of
from rdv.analysis.statistics.sample import FloatArray, IntArray

BINS = 10
_CLIP = float(np.finfo(np.float64).eps)  # as scikit-learn: a certain error costs 36


def log_loss(sample: Sample) -> Measured:
    """Return the mean of minus the logarithm of the probability that was given to the truth."""
    given = np.where(sample.truths > 0, sample.values, 1 - sample.values)
    return mean_of(sample, -np.log(np.clip(given, _CLIP, 1 - _CLIP)))


def brier(sample: Sample) -> Measured:
    """Return the mean squared difference of probability and truth: Brier (1950)."""
    return mean_of(sample, (sample.values - sample.truths) ** 2)


def calibration_in(bins: int) -> Callable[[Sample], Measured | str]:
    """Return the measure of the expected calibration error in bins of equal mass.

    Naeini, Cooper & Hauskrecht, AAAI 2015; equal mass: Nguyen & O'Connor, EMNLP 2015.
    """

    def measure(sample: Sample) -> Measured | str:
        if len(sample) < bins:
            return f"there are fewer than {bins} requests, one for each bin"
        if has_one_class(sample):
            return ONE_CLASS
        place = _bins(sample, bins)
        away = sample.truths - sample.values

        def gaps(weights: FloatArray) -> FloatArray:
            found: FloatArray = np.bincount(place, weights * away, bins) / weights.sum()
            return found

        value = float(np.abs(gaps(sample.weights)).sum())
        return Measured(value, sample.everything, gaps=gaps)

    return measure


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """`requests` with probabilities from `low` to `high`: their mean, and the positives."""

    low: float
    high: float
    requests: int
    mean: float
    positives: float
    """The share of positives, from 0 to 1, as the mean is."""


def reliability(
    values: npt.ArrayLike,
    truths: npt.ArrayLike,
    *,
    bins: int = BINS,
    weights: npt.ArrayLike | None = None,
    missing: Missing | None = None,
    positive: object = None,
) -> tuple[ReliabilityBin, ...] | Undefined:
    """Return the reliability table: what was predicted and what was true, in bins of equal mass.

    Equal probabilities are in one bin, so that there may be fewer bins. Raises InvalidSample.
    """
    sample = sample_of(
        "probability", values, truths, weights=weights, missing=missing, positive=positive
    )
    if not len(sample):
        return Undefined("calibration", "there is no request with a known truth and an answer")
    place = _bins(sample, bins)
    return tuple(_bin(sample, place == one) for one in np.unique(place).tolist())


def _bin(sample: Sample, rows: npt.NDArray[np.bool_]) -> ReliabilityBin:
    inside = sample.take(rows)
    total = math.fsum(inside.weights)
    return ReliabilityBin(
        float(inside.values.min()),
        float(inside.values.max()),
        len(inside),
        float(inside.weights @ inside.values) / total,
        float(inside.weights @ inside.truths) / total,
    )


def _bins(sample: Sample, bins: int) -> IntArray:
    """Return each request's bin: those of scikit-learn's `calibration_curve(strategy="quantile")`.

    A request is above the edge at the quantile q if, of the weight of all but the last, more than q
    is before it.
    """
    order = np.argsort(sample.values, kind="stable")
    value, heavy = sample.values[order], sample.weights[order]
    before = np.append(0.0, np.cumsum(heavy)[:-1])
    first = np.append(True, value[1:] != value[:-1])
    share = before[first] / before[-1] if before[-1] > 0 else np.zeros(int(first.sum()))
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    group = np.searchsorted(edges, share, side="left")
    place = np.empty(len(sample), dtype=np.int64)
    place[order] = group[np.cumsum(first) - 1]
    return place
