"""Find the range of an axis and the round values along it, and format them as ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np

from rdv.analysis.charts.chart import Axis, Band, Bars, Chart, FloatArray, Mark, Rule
from rdv.analysis.charts.format import number, share

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S = 86_400
_TIME_STEPS_S = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200,
    _DAY_S, 2 * _DAY_S, 7 * _DAY_S, 14 * _DAY_S, 28 * _DAY_S, 91 * _DAY_S, 364 * _DAY_S,
)  # fmt: skip
_FEW_DECADES = 2
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_LARGE = 1e4
_TICKS_MAX = 40
_DECIMALS_MAX = 7
_ROOM = 0.04  # left free at each end, as a share


def ticks(axis: Axis, low: float, high: float, about: int = 6) -> list[tuple[float, str]]:
    """Return positions and texts of about `about` round values between low and high.

    An axis of categories has a tick for each of them.
    """
    if axis.categories:
        return [(float(n), name) for n, name in enumerate(axis.categories) if low <= n <= high]
    if axis.log:
        return [(value, _short(value)) for value in _log(low, high, about)]
    if axis.measure == "time":
        step = _time_step((high - low) / about)
        return [(value, _time(value, step)) for value in _multiples(low, high, step)]
    scale = 100.0 if axis.measure == "share" else 1.0
    step = _nice((high - low) * scale / about)
    values = _multiples(low * scale, high * scale, step)
    texts = _texts(values, step)
    return [(value / scale, text) for value, text in zip(values, texts, strict=True)]


def quantity(axis: Axis, value: float) -> str:
    """Return a value of an axis with its unit: 12.5 ms, 25.0 %, 2026-01-02 14:05:00 UTC."""
    if axis.categories:
        return axis.categories[min(max(round(value), 0), len(axis.categories) - 1)]
    if axis.measure == "time":
        return f"{_EPOCH + timedelta(seconds=value):%Y-%m-%d %H:%M:%S} UTC"
    if axis.measure == "share":
        return share(value)
    return f"{number(value)} {axis.unit}".rstrip()


def extent(chart: Chart, which: Literal["x", "y"]) -> tuple[float, float]:
    """Return the ends of an axis: as fixed, or around all data with a small margin; low < high."""
    axis = chart.x if which == "x" else chart.y
    if axis.categories:
        return -0.5, len(axis.categories) - 0.5
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


def _short(value: float) -> str:
    """Return at most four digits, with a prefix for thousands, millions, ...: 0.01, 12k, 3.2M."""
    for size, prefix in _PREFIXES:
        if abs(value) >= max(size, _LARGE):
            return f"{value / size:.4g}{prefix}"
    return f"{value:.4g}"


def _nice(rough: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is not below `rough`."""
    if not (rough > 0 and math.isfinite(rough)):
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next((m * power for m in (1, 2, 2.5, 5) if m * power >= rough * (1 - 1e-9)), 10 * power)


def _multiples(low: float, high: float, step: float) -> list[float]:
    first = math.ceil(low / step - 1e-9)
    last = min(math.floor(high / step + 1e-9), first + _TICKS_MAX)
    return [n * step for n in range(first, last + 1)]


def _log(low: float, high: float, about: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = math.log10(high / low)
    factors: Sequence[int] = (1, 2, 5) if decades <= _FEW_DECADES else (1,)
    every = max(1, math.ceil(decades / about)) if len(factors) == 1 else 1
    found = [f * 10.0**n for n in range(first, last + 1, every) for f in factors]
    kept = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    return kept or [low, high]


def _texts(values: list[float], step: float) -> list[str]:
    """Return texts with the same number of decimals, so that they are easy to compare."""
    largest = max((abs(value) for value in values), default=0.0)
    size, prefix = next(((s, p) for s, p in _PREFIXES if largest >= max(s, _LARGE)), (1.0, ""))
    fine = step / size
    decimals = next(
        (n for n in range(_DECIMALS_MAX) if math.isclose(fine, round(fine, n), rel_tol=1e-6)), None
    )
    if decimals is None:
        return [f"{value:.4g}" if abs(value) > step / 2 else "0" for value in values]
    return [
        f"{value / size:.{decimals}f}{prefix}" if abs(value) > step / 2 else "0" for value in values
    ]


def _time_step(rough_s: float) -> float:
    return float(next((step for step in _TIME_STEPS_S if step >= rough_s), _TIME_STEPS_S[-1]))


def _time(value: float, step: float) -> str:
    moment = _EPOCH + timedelta(seconds=value)
    if step >= _DAY_S:
        return f"{moment:%d %b}"
    if moment.hour == moment.minute == moment.second == 0:
        return f"{moment:%d %b}"  # midnight: show the date
    if step >= 60:  # noqa: PLR2004 - a minute
        return f"{moment:%H:%M}"
    return f"{moment:%H:%M:%S}"


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
