"""Compute the range of an axis."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rdv.evaluation.pictures.chart import Axis, Band, Bars, Chart, FloatArray, Mark, Rule

_ROOM = 0.04  # left free at each end, as a share


def extent(chart: Chart, which: Literal["x", "y"]) -> tuple[float, float]:
    """Return the ends of an axis: as fixed, or around all data with a small margin; low < high."""
    axis = chart.x if which == "x" else chart.y
    values = np.concatenate([np.empty(0), *(_values(mark, which) for mark in chart.marks)])
    values = values[np.isfinite(values)]
    if axis.log:
        return _log_extent(axis, values[values > 0])
    low = float(values.min()) if len(values) else 0.0
    high = float(values.max()) if len(values) else 1.0
    has_bars = which == "y" and any(isinstance(mark, Bars) for mark in chart.marks)
    room = (high - low) * _ROOM or abs(high) * _ROOM or 1.0
    bottom = 0.0 if has_bars and low >= 0 else low - room
    top = high + room
    if low >= 0:  # no margin below 0
        bottom = max(bottom, 0.0)
    if axis.measure == "share" and high <= 1:  # and none above 100 %
        top = min(top, 1.0)
    bottom = axis.low if axis.low is not None else bottom
    top = axis.high if axis.high is not None else top
    return (bottom, top) if bottom < top else (bottom, bottom + (abs(bottom) or 1.0))


def _log_extent(axis: Axis, values: FloatArray) -> tuple[float, float]:
    low = float(values.min()) if len(values) else 1.0
    high = float(values.max()) if len(values) else 10.0
    low = axis.low if axis.low is not None and axis.low > 0 else low / 1.1
    high = axis.high if axis.high is not None and axis.high > 0 else high * 1.1
    return (low, high) if low < high else (low, low * 10)


def _values(mark: Mark, which: Literal["x", "y"]) -> FloatArray:
    if isinstance(mark, Rule):
        return np.array([mark.at] if mark.axis == which else [])
    if isinstance(mark, Bars):
        return mark.edges if which == "x" else mark.heights
    if which == "x":
        return mark.x
    if isinstance(mark, Band):
        return np.concatenate([mark.low, mark.high])
    ends = [getattr(mark, name, None) for name in ("y_low", "y_high")]
    return np.concatenate([mark.y, *(end for end in ends if end is not None)])
