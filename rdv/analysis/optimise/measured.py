"""Measure the answers of one schedule on the requests of a search; intervals are by key."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rdv.analysis.charts import number, share, signed
from rdv.analysis.charts.format import cell
from rdv.analysis.dataset.keys import Keys
from rdv.analysis.measure.contrast import as_interval, share_metric
from rdv.analysis.metrics import Metric, difference, estimate, metric_named
from rdv.analysis.optimise.cells import Columns
from rdv.analysis.statistics import Interval
from rdv.analysis.whatif.decide import NO_MODEL, Decided

Floats = npt.NDArray[np.float64]
share_of_default = share_metric("share of defaults")


def right_of(decided: Decided, columns: Columns) -> Floats:
    """Return how good each answer is, (n,); NaN where that is unknown."""
    model = decided.model.astype(np.int64)
    return columns.right[model, np.arange(len(model))].astype(np.float64)


def score(metric: Metric, right: Floats, keys: Keys | None) -> Interval:
    """Return the metric of these answers; an interval without ends with too few keys."""
    known = ~np.isnan(right)
    if not known.any():
        return as_interval(None)
    rows = right[known] if metric.higher_is_better else -right[known]
    return as_interval(estimate(_of_rows(metric), rows, keys=units(keys, known)))


def gain(metric: Metric, new: Floats, live: Floats, keys: Keys | None) -> Interval:
    """Return how much better the new answers are, paired by request."""
    both = ~np.isnan(new) & ~np.isnan(live)
    if not both.any():
        return as_interval(None)
    found = difference(_of_rows(metric), new[both], live[both], keys=units(keys, both))
    return as_interval(found)


def default_share(decided: Decided, keys: Keys | None) -> Interval:
    """Return the share of defaults."""
    is_default = (decided.model == NO_MODEL).astype(np.float64)
    every = np.ones(len(is_default), bool)
    return as_interval(estimate(share_of_default, is_default, keys=units(keys, every)))


def units(keys: Keys | None, rows: npt.NDArray[np.bool_]) -> Keys | None:
    """Return the keys of some rows; None if every request has its own."""
    if keys is None:
        return None
    chosen = keys[rows]
    return chosen if len(np.unique(chosen)) < len(chosen) else None


def _of_rows(metric: Metric) -> Metric:
    """Return the mean of values of requests that are known already, with the metric's spread."""
    return replace(metric_named("value"), name=metric.name, spread=metric.spread)


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
