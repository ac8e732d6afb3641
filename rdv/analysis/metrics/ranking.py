"""Metrics of the order of scores: ROC AUC, PR AUC, recall at a false-positive rate, precision at k.

Only the order counts. Requests with equal scores are taken together, as scikit-learn does; for
precision at k, which it does not have, a tie at the k-th place counts with its mean over all orders
(McSherry & Najork, ECIR 2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rdv.analysis.metrics.mean import ONE_CLASS, has_one_class
from rdv.analysis.metrics.metric import Measured
from rdv.analysis.metrics.sample import Sample
from rdv.analysis.statistics.sample import BoolArray, FloatArray, IntArray

Parts = tuple[tuple[str, BoolArray], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """Requests from the highest score to the lowest; `tie` numbers the groups of equal scores.

    `ends` is where each group ends (exclusive), in the order.
    """

    order: IntArray
    is_true: BoolArray
    tie: IntArray
    ends: IntArray

    @classmethod
    def of(cls, sample: Sample) -> Order:
        order = np.argsort(-sample.values, kind="stable")
        score = sample.values[order]
        is_last = np.append(score[1:] != score[:-1], True)
        tie = np.cumsum(is_last) - is_last
        return cls(order, sample.truths[order] > 0, tie, np.flatnonzero(is_last) + 1)

    def sums(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the weights of positives and of negatives down to the end of each group."""
        ordered = weights[self.order]
        true = np.cumsum(np.where(self.is_true, ordered, 0.0))[self.ends - 1]
        false = np.cumsum(np.where(self.is_true, 0.0, ordered))[self.ends - 1]
        return true, false

    def back(self, ordered: FloatArray) -> FloatArray:
        """Return values that are in this order in the order of the sample."""
        found = np.empty_like(ordered)
        found[self.order] = ordered
        return found


def roc_auc(sample: Sample) -> Measured | str:
    """Return the chance that a positive has a higher score than a negative; ties count half."""
    if has_one_class(sample):
        return ONE_CLASS
    order = Order.of(sample)
    true, false = order.sums(sample.weights)
    above_true, above_false = _before(true), _before(false)
    positives, negatives = float(true[-1]), float(false[-1])
    below = 1 - (above_false + false) / (2 * negatives)  # of a positive: the negatives below it
    above = (above_true + true) / (2 * positives)  # of a negative: the positives above it
    value = float((true - above_true) @ below) / positives
    influence = np.where(
        order.is_true,
        (below[order.tie] - value) / positives,
        (above[order.tie] - value) / negatives,
    )
    return Measured(value, _both(sample), order.back(influence))


def pr_auc(sample: Sample) -> Measured | str:
    """Return the average precision: the sum of precision times the step of recall.

    Nothing is interpolated. The influence is the derivative of that sum by each request's weight.
    """
    if has_one_class(sample):
        return ONE_CLASS
    order = Order.of(sample)
    true, false = order.sums(sample.weights)
    every, positives = true + false, float(true[-1])
    step, precision = np.diff(true, prepend=0.0) / positives, true / every
    value = float(step @ precision)
    gained = _from_here_on(step * false / every**2)
    lost = _from_here_on(step * true / every**2)
    influence = np.where(
        order.is_true,
        ((precision - value) / positives + gained)[order.tie],
        -lost[order.tie],
    )
    return Measured(value, _both(sample), order.back(influence))


def recall_at(rate: float) -> Callable[[Sample], Measured | str]:
    """Return the measure of the highest recall at which at most `rate` of the negatives are
    flagged.
    """

    def measure(sample: Sample) -> Measured | str:
        if has_one_class(sample):
            return ONE_CLASS
        order = Order.of(sample)
        true = np.flatnonzero(order.is_true)
        false = np.flatnonzero(~order.is_true)
        true_rows, false_rows = order.order[true], order.order[false]
        true_ends = np.searchsorted(true, order.ends)
        false_ends = np.searchsorted(false, order.ends)

        def at(weights: FloatArray) -> float:
            flagged, found = np.cumsum(weights[false_rows]), weights[true_rows]
            positives, negatives = float(found.sum()), float(flagged[-1])
            if positives <= 0 or negatives <= 0:
                return math.nan
            allowed = np.searchsorted(flagged / negatives, rate, side="right")
            group = int(np.searchsorted(false_ends, allowed, side="right"))
            return float(found[: true_ends[group - 1]].sum()) / positives if group else 0.0

        value = at(sample.weights)
        parts = _both(sample)
        last = np.zeros(len(sample), dtype=np.bool_)
        last[false_rows[: max(1, math.ceil(rate * len(false)))]] = True
        return Measured(value, (*parts, ("negatives above the threshold", last)), reweighted=at)

    return measure


def precision_at(k: int) -> Callable[[Sample], Measured | str]:
    """Return the measure of the share of positives among the k requests with the highest scores."""

    def measure(sample: Sample) -> Measured | str:
        total = float(sample.weights.sum())
        if total < k:
            return f"there are fewer than {k:,} requests"
        if has_one_class(sample):
            return ONE_CLASS
        order = Order.of(sample)

        def at(weights: FloatArray) -> float:
            true, false = order.sums(weights)
            every = true + false
            limit = k / total * float(every[-1])  # of a resample with another total: the same share
            if limit <= 0:
                return math.nan
            group = min(int(np.searchsorted(every, limit)), len(every) - 1)
            before, hits = (every[group - 1], true[group - 1]) if group else (0.0, 0.0)
            width = float(every[group] - before)
            share = float(limit - before) / width if width > 0 else 0.0
            return float(hits + share * (true[group] - hits)) / limit

        reached = np.cumsum(sample.weights[order.order])
        first = np.zeros(len(sample), dtype=np.bool_)
        first[order.order[: int(np.searchsorted(reached, k)) + 1]] = True
        parts = ((f"requests among the first {k:,}", first),)
        return Measured(at(sample.weights), parts, reweighted=at)

    return measure


def _both(sample: Sample) -> Parts:
    is_true = sample.truths > 0
    return (("positives", is_true), ("negatives", ~is_true))


def _before(sums: FloatArray) -> FloatArray:
    return np.append(0.0, sums[:-1])


def _from_here_on(values: FloatArray) -> FloatArray:
    return np.cumsum(values[::-1])[::-1]
