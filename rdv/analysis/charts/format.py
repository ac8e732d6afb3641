"""Format numbers for people: the one place that decides on digits in reports and tables.

Scores and times get three significant digits ("0.0907", "12.3"), larger numbers thousands
separators, shares one decimal place ("93.8 %", more where that would read 0 or 100), and intervals
as many decimal places as their width supports.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rdv.analysis.statistics.interval import Interval

_DECIMALS_MAX = 9
_SHARE_DECIMALS_MAX = 4
_WHOLE = 999.5  # from here on, three significant digits are a whole number
_P_MIN = 0.001


class Figure(str):
    """A number that is already formatted; it is aligned to the right like other numbers."""

    __slots__ = ()


def number(value: float) -> str:
    """Return three significant digits: 0.0907, 1.5, 12.3; whole numbers from 1,000 on."""
    if not math.isfinite(value):
        return _not_finite(value)
    if abs(value) >= _WHOLE:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def share(value: float | Interval) -> Figure:
    """Return a share in per cent: "95.0 %", "95.0 % (94.7 to 95.3)"."""
    if isinstance(value, Interval):
        return Figure(_interval(value, 100.0, " %", decimals_min=1))
    return Figure(f"{_percent(100 * value)} %")


def signed(value: float | Interval, *, scale: float = 1.0, unit: str = "") -> Figure:
    """Return a difference with its sign: "+1.9 points (+0.5 to +3.3)". `scale` multiplies it."""
    unit = f" {unit}" if unit else ""
    if isinstance(value, Interval):
        points = 1 if scale == 100 else 0  # noqa: PLR2004 - per cent, one decimal place as shares
        return Figure(_interval(value, scale, unit, sign="+", decimals_min=points))
    text = number(scale * value)
    return Figure(f"{'' if text.startswith('-') or text == '0' else '+'}{text}{unit}")


def p_value(value: float) -> str:
    """Return "p = 0.023", or "p < 0.001"."""
    return f"p < {_P_MIN:g}" if value < _P_MIN else f"p = {value:.2g}"


def cell(value: Any) -> str:
    """Return any value as the text of a table's cell; None is a dash.

    Integers get thousands separators, other numbers three digits, intervals "0.81 (0.79 to 0.83)".
    """
    if value is None:
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if isinstance(value, float | np.floating):
        return number(float(value))
    return _interval(value, 1.0, "") if isinstance(value, Interval) else str(value)


def is_numeric(value: Any) -> bool:
    """Return whether the value is aligned to the right."""
    kinds = int | float | np.number | Interval | Figure
    return isinstance(value, kinds) and not isinstance(value, bool)


def _not_finite(value: float) -> str:
    return "–" if math.isnan(value) else ("∞" if value > 0 else "-∞")


def _percent(value: float) -> str:
    if not math.isfinite(value):
        return _not_finite(value)
    if value in (0.0, 100.0):
        return f"{value:.0f}"
    for decimals in range(1, _SHARE_DECIMALS_MAX + 1):
        text = f"{value:,.{decimals}f}"
        if float(text.replace(",", "")) not in (0.0, 100.0):
            return text
    return f"{'<' if value < 1 else '>'} {0 if value < 1 else 99}.{'0001' if value < 1 else '9999'}"


def _interval(
    value: Interval, scale: float, unit: str, *, sign: str = "", decimals_min: int = 0
) -> str:
    estimate, low, high = (scale * end for end in (value.estimate, value.low, value.high))
    if not (value.bounded and math.isfinite(estimate)):
        return f"{number(estimate)}{unit} (too few for an interval)"
    width = high - low
    if width <= 0:
        return f"{number(estimate)}{unit} ({number(low)} to {number(high)})"
    # The last digit shown is at most a third of the width.
    decimals = min(max(math.ceil(-math.log10(width / 3)), decimals_min), _DECIMALS_MAX)
    ends = [f"{end:{sign},.{decimals}f}" for end in (estimate, low, high)]
    return f"{ends[0]}{unit} ({ends[1]} to {ends[2]})"
