"""Measure the answers of one schedule on the requests of a search; intervals are by key."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rdv.analysis.charts import number, share, signed
from rdv.analysis.charts.format import cell
from rdv.analysis.dataset.keys import Keys
from rdv.analysis.measure.contrast import as_interval, share_metric
from rdv.analysis.metrics import Metric, estimate
from rdv.analysis.optimise.cells import Columns
from rdv.analysis.optimise.scorer import units
from rdv.analysis.statistics import Interval
from rdv.analysis.whatif.decide import NO_MODEL, Decided

Floats = npt.NDArray[np.float64]
share_of_default = share_metric("share of defaults")


def right_of(decided: Decided, columns: Columns) -> Floats:
    """Return how good each answer is, (n,), or what a metric that is not a mean takes of it.

    NaN where that is unknown.
    """
    model = decided.model.astype(np.int64)
    values = columns.right if columns.points is None else columns.points
    return values[model, np.arange(len(model))].astype(np.float64)


def default_share(decided: Decided, keys: Keys | None) -> Interval:
    """Return the share of defaults."""
    is_default = (decided.model == NO_MODEL).astype(np.float64)
    every = np.ones(len(is_default), bool)
    return as_interval(estimate(share_of_default, is_default, keys=units(keys, every)))


def score_text(metric: Metric, found: Interval, unit: str = "") -> str:
    """Return a value of the metric, with its interval, as text."""
    if metric.unit == "%":
        return share(found)
    return f"{cell(found)}{f' {unit}' if unit else ''}"


def gain_text(metric: Metric, found: Interval, unit: str = "", per_day: float | None = None) -> str:
    """Return a gain, with its interval, as text; of a value also what it is worth in a day."""
    if metric.unit == "%":
        return signed(found, scale=100, unit="points")
    text = str(signed(found, unit=unit))
    if metric.name == "value" and per_day is not None:
        day = f"{number(found.estimate * per_day)}{f' {unit}' if unit else ''} per day"
        if not found.bounded:
            return f"{text}; {day}"
        low, high = (number(end * per_day) for end in (found.low, found.high))
        text += f"; {day} ({100 * found.confidence:g} %: {low} to {high})"
    return text
