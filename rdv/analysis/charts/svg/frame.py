"""The frame of a chart has the grid, ticks, captions, and the scales of its axes.

Convert values to positions in the drawing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rdv.analysis.charts.axis import extent, ticks
from rdv.analysis.charts.chart import Axis, Chart, FloatArray
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.charts.svg.palette import GRID, INK, PAPER, SIZE, SOFT, cut, width

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
        """Return the positions of values; NaN stays NaN, and values that a log axis cannot show
        become NaN.
        """
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


WIDTH = 480.0
PLOT_HEIGHT = 215.0
_BELOW = 46.0  # tick texts and the caption
_CAPTION = 20.0


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
    """Make a frame. `above` is the height of the legend in pixels, `beside` the width of names on
    the right.
    """
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
    for value, text in frame.x_ticks:
        x = frame.x.place(value)
        drawn.append(_grid(x, frame.bottom, x, frame.bottom + 5))
        drawn.append(write(text, x, frame.bottom + 19, anchor="middle"))
    base = frame.bottom
    drawn.append(
        tag("line", x1=frame.left, y1=base, x2=frame.right, y2=base, stroke=SOFT, class_="frame")
    )
    middle = (frame.left + frame.right) / 2
    x_text = cut(chart.x.caption, frame.right - frame.left)
    drawn.append(write(x_text, middle, frame.bottom + 38, anchor="middle", ink=True))
    y_text = cut(chart.y.caption, WIDTH - 8)
    drawn.append(write(y_text, 4, frame.top - 10, ink=True))
    return drawn


def write(
    text: str,
    x: float,
    y: float,
    *,
    anchor: str = "start",
    ink: bool = False,
    class_: str | None = None,
    fill: str | None = None,
    size: float = SIZE,
    weight: str | None = None,
    halo: bool = False,
) -> Markup:
    """Write text at a position, soft unless `ink`, or with a given class and colour.

    `halo`: with an edge in the paper's colour, to be readable over lines.
    """
    look: dict[str, str | float | None] = {
        "x": x,
        "y": y,
        "text_anchor": anchor,
        "font_size": size,
        "font_weight": weight,
    }
    colour = fill or (INK if ink else SOFT)
    written = tag("text", text, **look, fill=colour, class_=class_ or ("ink" if ink else "soft"))
    if not halo:
        return written
    # A separate text below, since some viewers do not support paint-order.
    edge: dict[str, str | float] = {"stroke": PAPER, "stroke_width": 4, "stroke_linejoin": "round"}
    below = tag("text", text, **look, **edge, fill=PAPER, class_="halo", aria_hidden="true")
    return Markup(below + written)


def _grid(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=GRID, class_="grid")


def _without_crowding(axis: Axis, low: float, high: float, room: float) -> list[tuple[float, str]]:
    """Return as many ticks as can be read."""
    found: list[tuple[float, str]] = []
    for about in (7, 5, 4, 3, 2):
        found = ticks(axis, low, high, about)
        if sum(width(text) + 14 for _, text in found) <= room:
            break
    return found
