"""The mean of one value for each request."""

from __future__ import annotations

from rdv.analysis.metrics.metric import Measured
from rdv.analysis.metrics.sample import Sample
from rdv.analysis.statistics.sample import FloatArray


def mean_of(sample: Sample, rows: FloatArray) -> Measured:
    """Return the weighted mean of the rows."""
    total = float(sample.weights.sum())
    value = float(sample.weights @ rows) / total
    return Measured(value, sample.everything, (rows - value) / total, rows=rows)
