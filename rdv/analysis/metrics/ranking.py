"""Metrics of the order of scores: ROC AUC, PR AUC, recall at a false-positive rate, precision at k.

Only the order counts. Requests with equal scores are taken together, as scikit-learn does; for
precision at k, which it does not have, a tie at the k-th place counts with its mean over all orders
(McSherry & Najork, ECIR 2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rdv.analysis.metrics.metric import ONE_CLASS, Measured, Reweighted, has_one_class
from rdv.analysis.metrics.sample import Sample
from rdv.analysis.statistics.sample import BoolArray, FloatArray, IntArray

HEAD = 3.0
HEAD_MIN = 1000
"""How many requests a resample of the highest scores looks at: at least these, and those of this
many times the weight that it is about.
"""
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
        return self.sums_of_ordered(weights[self.order])

    def sums_of_ordered(self, ordered: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the same of weights that are in this order already."""
        true = np.cumsum(np.where(self.is_true, ordered, 0.0))[self.ends - 1]
        false = np.cumsum(np.where(self.is_true, 0.0, ordered))[self.ends - 1]
        return true, false

    def head(self, reached: FloatArray, limit: float) -> Order:
        """Return the first groups, until `reached` (the weight at each group's end) is far above
        the limit: a resample, too, reaches its limit there.
        """
        groups = int(np.searchsorted(reached, HEAD * limit)) + 1
        groups = min(len(self.ends), max(groups, int(np.searchsorted(self.ends, HEAD_MIN)) + 1))
        end = int(self.ends[groups - 1])
        return Order(self.order[:end], self.is_true[:end], self.tie[:end], self.ends[:groups])

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
        _, false = order.sums(sample.weights)
        head = order.head(false, rate * float(false[-1]))

        def at(weights: FloatArray, totals: Sequence[float]) -> float:
            positives, negatives = totals
            if positives <= 0 or negatives <= 0:
                return math.nan
            true, false = head.sums_of_ordered(weights)
            group = int(np.searchsorted(false / negatives, rate, side="right"))
            return float(true[group - 1]) / positives if group else 0.0

        is_true = sample.truths > 0
        found = Reweighted(head.order, (is_true, ~is_true), at)
        flagged = order.order[~order.is_true]
        above = np.zeros(len(sample), dtype=np.bool_)
        above[flagged[: max(1, math.ceil(rate * len(flagged)))]] = True
        parts = (*_both(sample), ("negatives above the threshold", above))
        return Measured(found.value(sample.weights), parts, reweighted=found)

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
        head = order.head(np.add(*order.sums(sample.weights)), k)

        def at(weights: FloatArray, totals: Sequence[float]) -> float:
            true, false = head.sums_of_ordered(weights)
            every = true + false
            limit = k / total * totals[0]  # of a resample with another total: the same share
            if limit <= 0:
                return math.nan
            group = min(int(np.searchsorted(every, limit)), len(every) - 1)
            before, hits = (every[group - 1], true[group - 1]) if group else (0.0, 0.0)
            width = float(every[group] - before)
            share = min(1.0, float(limit - before) / width) if width > 0 else 0.0
            return float(hits + share * (true[group] - hits)) / limit

        found = Reweighted(head.order, (np.ones(len(sample), dtype=np.bool_),), at)
        reached = np.cumsum(sample.weights[order.order])
        first = np.zeros(len(sample), dtype=np.bool_)
        first[order.order[: int(np.searchsorted(reached, k)) + 1]] = True
        parts = ((f"requests among the first {k:,}", first),)
        return Measured(found.value(sample.weights), parts, reweighted=found)

    return measure


def _both(sample: Sample) -> Parts:
    is_true = sample.truths > 0
    return (("positives", is_true), ("negatives", ~is_true))


def _before(sums: FloatArray) -> FloatArray:
    return np.append(0.0, sums[:-1])


def _from_here_on(values: FloatArray) -> FloatArray:
    return np.cumsum(values[::-1])[::-1]
