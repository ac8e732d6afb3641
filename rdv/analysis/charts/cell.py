"""Format a value for a table for people."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rdv.analysis.charts.axis import number
from rdv.analysis.statistics.interval import Interval

_DECIMALS_MAX = 9


class Figure(str):
    """A number that is already formatted; it is aligned to the right like other numbers."""

    __slots__ = ()


def cell(value: Any) -> str:
    """Return numbers with four digits, intervals as "0.81 (0.79 to 0.83)", None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if isinstance(value, float | np.floating):
        return number(float(value))
    return _interval(value, 1.0, "") if isinstance(value, Interval) else str(value)


def share(value: float | Interval) -> Figure:
    """Return a share in per cent: "95.0 %", "95.0 % (94.7 to 95.3)"."""
    if isinstance(value, Interval):
        return Figure(_interval(value, 100.0, " %"))
    return Figure(f"{number(value * 100)} %")


def is_numeric(value: Any) -> bool:
    """Return whether the value is aligned to the right."""
    kinds = int | float | np.number | Interval | Figure
    return isinstance(value, kinds) and not isinstance(value, bool)


def _interval(value: Interval, scale: float, unit: str) -> str:
    """Return an interval with as many decimals as its width makes meaningful."""
    estimate, low, high = (scale * end for end in (value.estimate, value.low, value.high))
    if not (value.bounded and math.isfinite(estimate)):
        return f"{number(estimate)}{unit} (too few for an interval)"
    if high - low <= 0:
        return f"{number(estimate)}{unit} ({number(low)} to {number(high)})"
    decimals = min(max(1 - math.floor(math.log10(high - low)), 0), _DECIMALS_MAX)
    written = [f"{end:.{decimals}f}" for end in (estimate, low, high)]
    return f"{written[0]}{unit} ({written[1]} to {written[2]})"
