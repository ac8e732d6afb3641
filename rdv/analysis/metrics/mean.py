"""The mean of one value for each request."""

from __future__ import annotations

import numpy as np

from rdv.analysis.metrics.metric import Measured
from rdv.analysis.metrics.sample import Sample
from rdv.analysis.statistics.sample import FloatArray

ONE_CLASS = "all known truths are alike, so that an answer that never changes would be perfect"


def mean_of(sample: Sample, rows: FloatArray) -> Measured:
    """Return the weighted mean of the rows."""
    total = float(sample.weights.sum())
    value = float(sample.weights @ rows) / total
    return Measured(value, sample.everything, (rows - value) / total, rows=rows)


def has_one_class(sample: Sample) -> bool:
    """Return whether all truths are the same, so that nothing can be told apart."""
    return bool(np.all(sample.truths == sample.truths[0]))
