"""Draw each kind of mark.

The legend above the chart names the series.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rdv.analysis.charts.axis import quantity
from rdv.analysis.charts.chart import Axis, Band, Bars, FloatArray, Line, Mark, Points, Rule
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.charts.svg import palette
from rdv.analysis.charts.svg.frame import WIDTH, Frame, write
from rdv.analysis.charts.svg.palette import cut, width
from rdv.analysis.charts.terminal import thin_line, thin_rows

LINE_POINTS_MAX = 1200
POINTS_MAX = 1500
LABELS_MAX = 40
_RADIUS = 4.0


def draw_line(line: Line, frame: Frame, series: int) -> Markup:
    """Draw a path with a gap wherever a value is missing."""
    x, y = thin_line(line.x, line.y, LINE_POINTS_MAX)
    places_x, places_y = frame.x.places(x), frame.y.places(y)
    path = _path(places_x, places_y, stepped=line.stepped)
    if line.guide:
        return tag(
            "path",
            tag("title", line.name),
            d=path,
            fill="none",
            stroke=palette.SOFT,
            stroke_width=1.2,
            stroke_dasharray="4 4",
            class_="guide",
        )
    return tag(
        "path",
        tag("title", line.name),
        d=path,
        fill="none",
        stroke=palette.colour(series),
        stroke_width=2,
        stroke_dasharray=palette.dash(series),
        stroke_linejoin="round",
        class_=palette.stroke_class(series),
    )


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
    base = (
        min(max(frame.y.place(0.0), frame.top), frame.bottom) if not frame.y.log else frame.bottom
    )
    drawn = []
    for n, height in enumerate(bars.heights.tolist()):
        said = (
            f"{_said(axes[0], float(bars.edges[n]))} to {_said(axes[0], float(bars.edges[n + 1]))}"
            f": {_said(axes[1], height)}"
        )
        top = float(min(tops[n], base))
        drawn.append(
            tag(
                "rect",
                tag("title", said),
                x=float(edges[n]),
                y=top,
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


def draw_points(points: Points, frame: Frame, series: int, axes: tuple[Axis, Axis]) -> list[Markup]:
    """Draw shapes with whiskers, and labels where they do not cover each other."""
    rows = thin_rows(len(points.x), POINTS_MAX)
    x, y = frame.x.places(points.x[rows]), frame.y.places(points.y[rows])
    drawn = _whiskers(points, frame, series, rows)
    taken: list[tuple[float, float, float]] = []
    for n, row in enumerate(rows.tolist()):
        if not (np.isfinite(x[n]) and np.isfinite(y[n])):
            continue
        name = points.labels[row] if points.labels else points.name
        said = f"{name}: {_said(axes[0], points.x[row])}, {_said(axes[1], points.y[row])}"
        drawn.append(shape(series, float(x[n]), float(y[n]), said))
        if points.labels and len(taken) < LABELS_MAX:
            drawn += _label(points.labels[row], float(x[n]), float(y[n]), frame, taken)
    return drawn


def draw_rule(rule: Rule, frame: Frame) -> list[Markup]:
    """Draw a dashed line across the chart, with its name at its end."""
    if rule.axis == "x":
        x = frame.x.place(rule.at)
        ends = {"x1": x, "y1": frame.top, "x2": x, "y2": frame.bottom}
        is_left = x > (frame.left + frame.right) / 2
        at = (x - 5 if is_left else x + 5, frame.bottom - 7)
        anchor = "end" if is_left else "start"
    else:
        y = frame.y.place(rule.at)
        ends = {"x1": frame.left, "y1": y, "x2": frame.right, "y2": y}
        at, anchor = (frame.right - 4, y - 5), "end"
    line = tag("line", **ends, stroke=palette.INK, stroke_dasharray="3 3", class_="frame")
    return [line, write(rule.name, *at, anchor=anchor, ink=True, halo=True)]


def shape(series: int, x: float, y: float, said: str) -> Markup:
    """Draw a circle, square, triangle or diamond, so that series differ without colour."""
    title = tag("title", said)
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
        return tag("circle", title, cx=x, cy=y, r=r, **look)
    places = " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in corners)
    return tag("polygon", title, points=places, **look)


def _whiskers(points: Points, frame: Frame, series: int, rows: np.ndarray) -> list[Markup]:
    if points.y_low is None or points.y_high is None:
        return []
    x = frame.x.places(points.x[rows])
    ends = [
        np.clip(frame.y.places(end[rows]), frame.top, frame.bottom)
        for end in (points.y_low, points.y_high)
    ]
    drawn = []
    for at, low, high in zip(x.tolist(), ends[0].tolist(), ends[1].tolist(), strict=True):
        if np.isfinite([at, low, high]).all() and low != high:
            path = f"M{at:.1f} {low:.1f}V{high:.1f}"
            path += "".join(f"M{at - 3:.1f} {end:.1f}h6" for end in (low, high))
            drawn.append(
                tag(
                    "path",
                    d=path,
                    fill="none",
                    stroke=palette.colour(series),
                    stroke_width=1.2,
                    class_=palette.stroke_class(series),
                )
            )
    return drawn


def _label(
    text: str, x: float, y: float, frame: Frame, taken: list[tuple[float, float, float]]
) -> list[Markup]:
    """Write a label to the right of the point, or to its left near the edge; not over another
    label.
    """
    wide = width(text)
    left = x + 8 if x + 8 + wide <= frame.right + 10 else x - 8 - wide
    for up in (-7.0, 17.0, -21.0):
        spot = (left, left + wide, y + up)
        if all(spot[1] < a or spot[0] > b or abs(spot[2] - at) > 12 for a, b, at in taken):  # noqa: PLR2004
            taken.append(spot)
            return [write(text, left, y + up, ink=True, halo=True)]
    return []


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


def _said(axis: Axis, value: float) -> str:
    return quantity(float(value), axis.measure, axis.unit)


_ROW = 20.0
_SAMPLE = 28.0
_NAME_MAX = 220.0


def draw_legend(series: Sequence[Mark], guides: Sequence[Line]) -> tuple[list[Markup], float]:
    """Return the legend's elements and its height; nothing for a chart that needs none."""
    if len(series) + len(guides) < 2:  # noqa: PLR2004 - a single one needs no legend
        return [], 0.0
    drawn: list[Markup] = []
    x, y = 4.0, 14.0
    for number, mark in enumerate([*series, *guides]):
        name = cut(mark.name, _NAME_MAX)
        wide = _SAMPLE + width(name) + 18
        if x + wide > WIDTH and x > 4:  # noqa: PLR2004 - not the first of a row
            x, y = 4.0, y + _ROW
        drawn += _sample(mark, number, x, y - 4)
        drawn.append(write(name, x + _SAMPLE, y, ink=True))
        x += wide
    return drawn, y + 8


def _sample(mark: Mark, series: int, x: float, y: float) -> list[Markup]:
    if isinstance(mark, Points):
        return [shape(series, x + 12, y, mark.name)]
    if isinstance(mark, Bars):
        return [
            tag(
                "rect",
                x=x,
                y=y - 6,
                width=22,
                height=12,
                fill=palette.colour(series),
                fill_opacity=0.75,
                class_=palette.fill_class(series),
            )
        ]
    is_guide = isinstance(mark, Line) and mark.guide
    return [
        tag(
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
    ]
