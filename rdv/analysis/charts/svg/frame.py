"""The frame of a chart: scales from values to pixels, grid lines, ticks and captions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rdv.analysis.charts.axis import extent, ticks
from rdv.analysis.charts.chart import Axis, Chart, FloatArray
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.charts.svg.palette import GRID, SOFT
from rdv.analysis.charts.svg.text import width, write

WIDTH = 480.0
PLOT_HEIGHT = 215.0
_BELOW = 46.0  # tick texts and the caption
_CAPTION = 20.0
_FAR = 1e5  # beyond it, some viewers draw wrongly


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale on which `low` is at pixel `start`, and `high` at pixel `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def places(self, values: FloatArray) -> FloatArray:
        """Return the positions of values; NaN for NaN, and for what a log axis cannot show."""
        low, high, shown = self.low, self.high, values
        if self.log:
            low, high = np.log10(low), np.log10(high)
            positive = values > 0
            shown = np.where(positive, np.log10(np.where(positive, values, 1.0)), np.nan)
        share = (shown - low) / (high - low)
        placed: FloatArray = np.clip(self.start + share * (self.end - self.start), -_FAR, _FAR)
        return placed

    def place(self, value: float) -> float:
        return float(self.places(np.array([value]))[0])


@dataclass(frozen=True, slots=True)
class Frame:
    """Scales of both axes, the inner edges in pixels, and the total height."""

    x: Scale
    y: Scale
    left: float
    right: float
    top: float
    bottom: float
    height: float
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def make_frame(chart: Chart, above: float, beside: float) -> Frame:
    """Make a frame with `above` px of legend, and `beside` px for names on the right."""
    x_low, x_high = extent(chart, "x")
    y_low, y_high = extent(chart, "y")
    y_ticks = tuple(ticks(chart.y, y_low, y_high, 5))
    left = max(34.0, 12 + max((width(text) for _, text in y_ticks), default=0))
    right = WIDTH - max(14.0, beside)
    top = above + _CAPTION + 6
    bottom = top + PLOT_HEIGHT
    x_ticks = tuple(_without_crowding(chart.x, x_low, x_high, right - left))
    return Frame(
        Scale(x_low, x_high, left, right, chart.x.log),
        Scale(y_low, y_high, bottom, top, chart.y.log),
        left,
        right,
        top,
        bottom,
        bottom + _BELOW,
        x_ticks,
        y_ticks,
    )


def draw_frame(chart: Chart, frame: Frame) -> list[Markup]:
    """Draw grid lines, ticks and captions; they must be drawn first."""
    drawn = []
    for value, text in frame.y_ticks:
        y = frame.y.place(value)
        drawn.append(_grid(frame.left, y, frame.right, y))
        drawn.append(write(text, frame.left - 6, y + 4, anchor="end"))
    most = None
    if chart.x.categories:
        most = (frame.right - frame.left) / len(chart.x.categories) - 6
    for value, text in frame.x_ticks:
        x = frame.x.place(value)
        drawn.append(_grid(x, frame.bottom, x, frame.bottom + 5))
        at = min(max(x, width(text) / 2), WIDTH - width(text) / 2) if most is None else x
        drawn.append(write(text, at, frame.bottom + 19, anchor="middle", most=most))
    base = frame.bottom
    drawn.append(
        tag("line", x1=frame.left, y1=base, x2=frame.right, y2=base, stroke=SOFT, class_="frame")
    )
    middle = (frame.left + frame.right) / 2
    room = 2 * min(middle, WIDTH - middle)
    below, above = frame.bottom + 38, frame.top - 10
    drawn.append(write(chart.x.caption, middle, below, anchor="middle", ink=True, most=room))
    drawn.append(write(chart.y.caption, 4, above, ink=True, most=WIDTH - 8))
    return drawn


def _grid(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=GRID, class_="grid")


def _without_crowding(axis: Axis, low: float, high: float, room: float) -> list[tuple[float, str]]:
    """Return as many ticks as can be read; an axis of categories has all of them."""
    found: list[tuple[float, str]] = []
    for about in (7, 5, 4, 3, 2):
        found = ticks(axis, low, high, about)
        if sum(width(text) + 14 for _, text in found) <= room:
            break
    return found
