"""Metrics of numbers: MAE, RMSE, pinball loss; and the business's own value of an answer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from rdv.analysis.metrics.mean import mean_of
from rdv.analysis.metrics.metric import Measured
from rdv.analysis.metrics.sample import Sample


def mae(sample: Sample) -> Measured:
    """Return the mean absolute error."""
    return mean_of(sample, np.abs(sample.values - sample.truths))


def rmse(sample: Sample) -> Measured:
    """Return the root of the mean squared error."""
    squared = mean_of(sample, (sample.values - sample.truths) ** 2)
    assert squared.influence is not None
    value = math.sqrt(squared.value)
    slope = 1 / (2 * value) if value > 0 else 0.0
    return Measured(value, squared.parts, squared.influence * slope)


def pinball_at(quantile: float) -> Callable[[Sample], Measured]:
    """Return the measure of the loss of an estimated quantile: Koenker & Bassett (1978)."""

    def measure(sample: Sample) -> Measured:
        short = sample.truths - sample.values
        return mean_of(sample, np.maximum(quantile * short, (quantile - 1) * short))

    return measure


def value(sample: Sample) -> Measured:
    """Return the mean of the business's own value of each answer."""
    return mean_of(sample, sample.values)
