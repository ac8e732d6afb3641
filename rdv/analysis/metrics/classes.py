"""Metrics of class labels: accuracy, balanced accuracy, F1. A missing label is a wrong one."""

from __future__ import annotations

import numpy as np

from rdv.analysis.metrics.mean import mean_of
from rdv.analysis.metrics.metric import ONE_CLASS, Measured, has_one_class
from rdv.analysis.metrics.sample import Sample
from rdv.analysis.statistics.sample import FloatArray


def accuracy(sample: Sample) -> Measured:
    """Return the share of requests whose label is the truth."""
    return mean_of(sample, _right(sample))


def balanced_accuracy(sample: Sample) -> Measured | str:
    """Return the mean, over the classes that are true of some request, of the share that is right.

    Brodersen, Ong, Stephan & Buhmann, ICPR 2010.
    """
    if has_one_class(sample):
        return ONE_CLASS
    _, place = np.unique(sample.truths, return_inverse=True)
    heavy, right = sample.weights, _right(sample)
    total = np.bincount(place, heavy)
    recall = np.bincount(place, heavy * right) / total
    influence = (right - recall[place]) / (total[place] * len(total))
    parts = tuple(("one of the classes", place == one) for one in range(len(total)))
    return Measured(float(recall.mean()), parts, influence)


def f1(sample: Sample) -> Measured | str:
    """Return the harmonic mean of precision and recall of the positive class: 2TP/(2TP+FP+FN)."""
    is_true = sample.truths == sample.positive if sample.positive is not None else None
    if is_true is None or not is_true.any():
        return "no known truth is positive"
    if is_true.all():
        return ONE_CLASS
    says = np.where(sample.is_missing, ~is_true, sample.values == sample.positive)
    hit, missed = 2.0 * (says & is_true), 1.0 * (says != is_true)
    below = hit + missed
    total = float(sample.weights @ below)
    value = float(sample.weights @ hit) / total
    return Measured(
        value,
        (("positives", is_true), ("negatives", ~is_true)),
        (hit - value * below) / total,
    )


def _right(sample: Sample) -> FloatArray:
    right: FloatArray = (sample.values == sample.truths).astype(np.float64)
    return right
