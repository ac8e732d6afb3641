"""Draw each kind of mark, and the legend that names the series.

Texts beside points and lines are collected by `Labels` and drawn last, above all lines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rdv.analysis.charts.axis import quantity
from rdv.analysis.charts.chart import (
    Axis,
    Band,
    Bars,
    FloatArray,
    Line,
    Mark,
    Points,
    Rule,
    thin_line,
    thin_rows,
)
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.charts.svg import palette
from rdv.analysis.charts.svg.frame import WIDTH, Frame
from rdv.analysis.charts.svg.text import cut, width, write

LINE_POINTS_MAX = 1200
POINTS_MAX = 1500
LABELS_MAX = 40
_RADIUS = 4.0
_ROW = 20.0
_SAMPLE = 28.0
_NAME_MAX = 220.0
_ASCENT, _DESCENT = 10.0, 3.0

Box = tuple[float, float, float, float]
"""Left, right, top and bottom, in pixels."""


class Labels:
    """Places texts where they cover no other text, and if possible no line."""

    def __init__(self, frame: Frame) -> None:
        self.drawn: list[Markup] = []
        self._frame = frame
        self._texts: list[Box] = []
        self._lines: list[Box] = []

    def avoid(self, *lines: Box) -> None:
        """Keep texts away from these lines, if possible."""
        self._lines += lines

    def add(self, text: str, places: Sequence[tuple[float, float, str]]) -> None:
        """Write a text at the first (x, y, anchor) that is free; nowhere if each is taken."""
        boxes = [self._box(text, *place) for place in places]
        inside = [(place, box) for place, box in zip(places, boxes, strict=True) if box is not None]
        for taken in ([*self._texts, *self._lines], self._texts):
            for (x, y, anchor), box in inside:
                if not any(_cross(box, other) for other in taken):
                    self._texts.append(box)
                    most = box[1] - box[0] + 1
                    self.drawn.append(
                        write(text, x, y, anchor=anchor, most=most, ink=True, halo=True)
                    )
                    return

    def _box(self, text: str, x: float, y: float, anchor: str) -> Box | None:
        """Return where the text would be, cut if it is too long for the chart; None if outside."""
        left, right = self._frame.left, WIDTH - 2
        long = min(width(text), right - left)
        start = x - long if anchor == "end" else x
        if start < left or start + long > right or y - _ASCENT < 0 or y > self._frame.bottom:
            return None
        return start, start + long, y - _ASCENT, y + _DESCENT


def _cross(a: Box, b: Box) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]


def draw_line(line: Line, frame: Frame, series: int) -> Markup:
    """Draw a path with a gap wherever a value is missing."""
    x, y = thin_line(line.x, line.y, LINE_POINTS_MAX)
    path = _path(frame.x.places(x), frame.y.places(y), stepped=line.stepped)
    look: dict[str, str | float | None] = {
        "stroke": palette.SOFT if line.guide else palette.colour(series),
        "stroke_width": 1.2 if line.guide else 2,
        "stroke_dasharray": "4 4" if line.guide else palette.dash(series),
        "stroke_linejoin": None if line.guide else "round",
        "class_": "guide" if line.guide else palette.stroke_class(series),
    }
    return tag("path", tag("title", line.name), d=path, fill="none", **look)


def draw_band(band: Band, frame: Frame, series: int) -> Markup:
    """Draw the area between low and high, faintly."""
    rows = np.flatnonzero(np.isfinite(band.x) & np.isfinite(band.low) & np.isfinite(band.high))
    rows = rows[thin_rows(len(rows), LINE_POINTS_MAX)]
    x = frame.x.places(band.x[rows])
    low, high = frame.y.places(band.low[rows]), frame.y.places(band.high[rows])
    corners = [*zip(x, high, strict=True), *zip(x[::-1], low[::-1], strict=True)]
    return tag(
        "polygon",
        points=" ".join(f"{a:.1f},{b:.1f}" for a, b in corners),
        fill=palette.colour(series),
        fill_opacity=0.18,
        class_=palette.fill_class(series),
    )


def draw_bars(bars: Bars, frame: Frame, series: int, axes: tuple[Axis, Axis]) -> list[Markup]:
    """Draw touching bars on the zero line; hovering shows what each one contains."""
    edges, tops = frame.x.places(bars.edges), frame.y.places(bars.heights)
    base = frame.bottom
    if not frame.y.log:
        base = min(max(frame.y.place(0.0), frame.top), frame.bottom)
    drawn = []
    for n, height in enumerate(bars.heights.tolist()):
        ends = " to ".join(quantity(axes[0], float(bars.edges[n + side])) for side in (0, 1))
        drawn.append(
            tag(
                "rect",
                tag("title", f"{ends}: {quantity(axes[1], height)}"),
                x=float(edges[n]),
                y=float(min(tops[n], base)),
                width=float(edges[n + 1] - edges[n]),
                height=abs(float(base - tops[n])),
                fill=palette.colour(series),
                fill_opacity=0.75,
                stroke=palette.PAPER,
                stroke_width=0.7,
                class_=f"{palette.fill_class(series)} gap",
            )
        )
    return drawn


def draw_points(
    points: Points, frame: Frame, series: int, axes: tuple[Axis, Axis], labels: Labels
) -> list[Markup]:
    """Draw shapes with whiskers; add their labels where there is room."""
    rows = thin_rows(len(points.x), POINTS_MAX)
    x, y = frame.x.places(points.x[rows]), frame.y.places(points.y[rows])
    drawn = _whiskers(points, frame, series, rows, labels)
    labelled = 0
    for n, row in enumerate(rows.tolist()):
        if not (np.isfinite(x[n]) and np.isfinite(y[n])):
            continue
        at, to = float(x[n]), float(y[n])
        name = points.labels[row] if points.labels else points.name
        values = f"{quantity(axes[0], points.x[row])}, {quantity(axes[1], points.y[row])}"
        drawn.append(shape(series, at, to, f"{name}: {values}"))
        if points.labels and points.labels[row] and labelled < LABELS_MAX:
            sides = ((at + 8, "start"), (at - 8, "end"))
            places = [(x_, to + up, side) for up in (-7.0, 17.0, -21.0) for x_, side in sides]
            labels.add(name, places)
            labelled += 1
    return drawn


def draw_rule(rule: Rule, frame: Frame, labels: Labels) -> Markup:
    """Draw a dashed line across the chart, with its name at one of its ends."""
    if rule.axis == "x":
        x = frame.x.place(rule.at)
        ends = {"x1": x, "y1": frame.top, "x2": x, "y2": frame.bottom}
        sides = [(x + 5, "start"), (x - 5, "end")]
        if x > (frame.left + frame.right) / 2:
            sides.reverse()
        places = [(at, y, a) for y in (frame.bottom - 7, frame.top + 14) for at, a in sides]
    else:
        y = frame.y.place(rule.at)
        ends = {"x1": frame.left, "y1": y, "x2": frame.right, "y2": y}
        corners = ((frame.right - 4, "end"), (frame.left + 4, "start"))
        places = [(at, y + up, a) for up in (-5.0, 14.0) for at, a in corners]
    labels.add(rule.name, places)
    labels.avoid((ends["x1"] - 1, ends["x2"] + 1, ends["y1"] - 1, ends["y2"] + 1))
    return tag("line", **ends, stroke=palette.INK, stroke_dasharray="3 3", class_="frame")


def shape(series: int, x: float, y: float, title: str) -> Markup:
    """Draw a circle, square, triangle or diamond, so that series differ without colour."""
    look: dict[str, str | float] = {
        "fill": palette.colour(series),
        "class_": f"{palette.fill_class(series)} gap",
        "stroke": palette.PAPER,
        "stroke_width": 0.8,
    }
    r = _RADIUS
    corners = {
        1: [(-r, -r), (r, -r), (r, r), (-r, r)],
        2: [(0, -r * 1.2), (r * 1.2, r), (-r * 1.2, r)],
        3: [(0, -r * 1.4), (r * 1.4, 0), (0, r * 1.4), (-r * 1.4, 0)],
    }.get(series % 4)
    if corners is None:
        return tag("circle", tag("title", title), cx=x, cy=y, r=r, **look)
    places = " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in corners)
    return tag("polygon", tag("title", title), points=places, **look)


def square(series: int, x: float, y: float, wide: float, high: float, opacity: float = 1) -> Markup:
    """Draw the sample of bars or of a part in a legend."""
    return tag(
        "rect",
        x=x,
        y=y,
        width=wide,
        height=high,
        fill=palette.colour(series),
        fill_opacity=opacity,
        class_=palette.fill_class(series),
    )


def _whiskers(
    points: Points, frame: Frame, series: int, rows: np.ndarray, labels: Labels
) -> list[Markup]:
    if points.y_low is None or points.y_high is None:
        return []
    x = frame.x.places(points.x[rows])
    ends = [
        np.clip(frame.y.places(end[rows]), frame.top, frame.bottom)
        for end in (points.y_low, points.y_high)
    ]
    look = {"stroke": palette.colour(series), "class_": palette.stroke_class(series)}
    drawn = []
    for at, low, high in zip(x.tolist(), ends[0].tolist(), ends[1].tolist(), strict=True):
        if np.isfinite([at, low, high]).all() and low != high:
            path = f"M{at:.1f} {low:.1f}V{high:.1f}"
            path += "".join(f"M{at - 3:.1f} {end:.1f}h6" for end in (low, high))
            drawn.append(tag("path", d=path, fill="none", stroke_width=1.2, **look))
            labels.avoid((at - 3, at + 3, high, low))
    return drawn


def _path(x: FloatArray, y: FloatArray, *, stepped: bool) -> str:
    parts, is_drawing, last_y = [], False, 0.0
    for at, to in zip(x.tolist(), y.tolist(), strict=True):
        if not (np.isfinite(at) and np.isfinite(to)):
            is_drawing = False
            continue
        if not is_drawing:
            parts.append(f"M{at:.1f} {to:.1f}")
        elif stepped:
            parts.append(f"H{at:.1f}" + (f"V{to:.1f}" if to != last_y else ""))
        else:
            parts.append(f"L{at:.1f} {to:.1f}")
        is_drawing, last_y = True, to
    return "".join(parts)


def draw_legend(
    series: Sequence[Mark], guides: Sequence[Line], colours: dict[str, int]
) -> tuple[list[Markup], float]:
    """Return the legend's elements and its height; nothing for a chart that needs none."""
    if len(series) + len(guides) < 2:  # noqa: PLR2004 - a single one needs no legend
        return [], 0.0
    marks = [*series, *guides]
    places, height = flow([_SAMPLE + width(cut(mark.name, _NAME_MAX)) for mark in marks])
    drawn: list[Markup] = []
    for mark, (x, y) in zip(marks, places, strict=True):
        drawn.append(_sample(mark, colours.get(mark.name, 0), x, y - 4))
        drawn.append(write(mark.name, x + _SAMPLE, y, ink=True, most=_NAME_MAX))
    return drawn, height


def flow(widths: Sequence[float]) -> tuple[list[tuple[float, float]], float]:
    """Arrange a legend's entries in rows; return their places (left, baseline) and the height."""
    x, y = 4.0, 14.0
    places: list[tuple[float, float]] = []
    for wide in widths:
        if places and x > 4 and x + wide > WIDTH - 2:  # noqa: PLR2004 - not the first of a row
            x, y = 4.0, y + _ROW
        places.append((x, y))
        x += wide + 18
    return places, y + 8


def _sample(mark: Mark, series: int, x: float, y: float) -> Markup:
    if isinstance(mark, Points):
        return shape(series, x + 12, y, mark.name)
    if isinstance(mark, Bars):
        return square(series, x, y - 6, 22, 12, 0.75)
    is_guide = isinstance(mark, Line) and mark.guide
    return tag(
        "line",
        x1=x,
        y1=y,
        x2=x + 22,
        y2=y,
        stroke=palette.SOFT if is_guide else palette.colour(series),
        stroke_width=1.2 if is_guide else 2.4,
        stroke_dasharray="4 4" if is_guide else palette.dash(series),
        class_="guide" if is_guide else palette.stroke_class(series),
    )
