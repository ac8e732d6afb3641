"""Draw lanes: bars while a model is accepted, dots for reports, lines at the ends of the steps."""

from __future__ import annotations

import numpy as np

from rdv.analysis.charts.axis import ticks
from rdv.analysis.charts.chart import Axis
from rdv.analysis.charts.lanes import Dot, Handle, Lane, Lanes, Span
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.charts.svg import palette
from rdv.analysis.charts.svg.frame import WIDTH
from rdv.analysis.charts.svg.text import cut, width, write

_LANE = 34.0
_BAR = 16.0
_TOP = 30.0
_BELOW = 24.0
_RIGHT = 16.0
_NAME_MAX = 96.0
_RADIUS = 4.5
_DOTS_MAX = 400
_FEW = 6


def draw_lanes(chart: Lanes, number: int = 1) -> Markup:
    """Return one `<svg>`; `number` makes the ids of several charts in one page unique."""
    names = [cut(lane.name, _NAME_MAX) for lane in chart.lanes]
    left = 14 + max((width(name) for name in names), default=0.0)
    wide = WIDTH - left - _RIGHT
    bottom = _TOP + _LANE * len(chart.lanes)
    place = _Place(left, wide, chart.end)
    parts = [_tick(value, text, place, bottom) for value, text in _ticks(chart.end, wide)]
    for row, (lane, name) in enumerate(zip(chart.lanes, names, strict=True)):
        parts += _lane(lane, name, row, place)
    for label, at in chart.ends:
        parts.append(_end(label, at, place, bottom))
    if chart.answer is not None:
        parts += _answer(chart.answer, place, bottom)
    parts += [_handle(one, place, bottom) for one in chart.handles]
    return tag(
        "svg",
        tag("title", chart.title, id=f"title-{number}"),
        tag("desc", chart.note or chart.title, id=f"desc-{number}"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:.0f} {bottom + _BELOW:.0f}",
        role="img",
        aria_labelledby=f"title-{number} desc-{number}",
        font_family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
        class_="schedule" if chart.handles else None,
        data_left=f"{left:.2f}",
        data_wide=f"{wide:.2f}",
        data_sla=f"{chart.end:g}",
    )


class _Place:
    """Places times on the axis."""

    def __init__(self, left: float, wide: float, end: float) -> None:
        self.left, self.wide, self.end = left, wide, end

    def x(self, at: float) -> float:
        return self.left + self.wide * min(max(at / self.end, 0.0), 1.02)


def _ticks(end: float, wide: float) -> list[tuple[float, str]]:
    """Return about as many ticks as can be read, with the end itself."""
    found = [(v, t) for v, t in ticks(Axis("ms"), 0.0, end, 6) if 0 <= v <= end]
    room = wide / max(1, len(found))
    if any(width(text) + 10 > room for _, text in found):
        found = found[::2]
    return found


def _tick(value: float, text: str, place: _Place, bottom: float) -> Markup:
    x = place.x(value)
    line = tag("line", x1=x, y1=_TOP - 6, x2=x, y2=bottom, stroke=palette.GRID, class_="grid")
    last = f"{text} ms" if value == place.end or not value else text
    anchor = "end" if value == place.end else "middle"
    return Markup(line + write(last, x, bottom + 16, anchor=anchor))


def _lane(lane: Lane, name: str, row: int, place: _Place) -> list[Markup]:
    middle = _TOP + _LANE * row + _LANE / 2
    drawn = [
        write(name, place.left - 8, middle + 4, anchor="end", ink=True, most=_NAME_MAX),
        tag(
            "line", x1=place.left, y1=middle, x2=place.left + place.wide, y2=middle,
            stroke=palette.GRID, class_="grid",
        ),
    ]  # fmt: skip
    drawn += [_span(span, middle, row, place) for span in lane.spans]
    if lane.ridge is not None:
        drawn.append(_ridge(lane, middle, row, place))
    many = len(lane.dots) > _FEW
    for number, dot in enumerate(lane.dots[:_DOTS_MAX]):
        # Many dots are small, and spread over the lane.
        y = middle + (number * 7 % 11 - 5) * 1.3 if many else middle
        drawn.append(_dot(dot, y, row, place, _RADIUS * (0.55 if many else 1)))
    return drawn


def _span(span: Span, middle: float, row: int, place: _Place) -> Markup:
    said = "preferred" if span.is_first else "accepted"
    left = place.x(span.begin)
    return tag(
        "rect",
        tag("title", f"{said} from {span.begin:g} to {span.end:g} ms"),
        x=left,
        y=middle - _BAR / 2,
        width=max(0.0, place.x(span.end) - left),
        height=_BAR,
        rx=3,
        fill=palette.colour(row),
        class_=palette.fill_class(row),
        fill_opacity=0.42 if span.is_first else 0.16,
        data_from=span.begin_name if span.begin_name or span.end_name else None,
        data_to=span.end_name if span.begin_name or span.end_name else None,
    )


def _ridge(lane: Lane, middle: float, row: int, place: _Place) -> Markup:
    """Draw how many reports come when, as a hill on the lane's line."""
    assert lane.ridge is not None
    shares = np.nan_to_num(lane.ridge)
    top = float(shares.max()) if len(shares) else 0.0
    base, high = middle + _BAR / 2, _LANE - 6
    step = place.wide / max(1, len(shares))
    points = [f"M{place.left:.1f} {base:.1f}"]
    for number, value in enumerate(shares.tolist()):
        y = base - (high * value / top if top else 0.0)
        points.append(f"L{place.left + (number + 0.5) * step:.1f} {y:.1f}")
    points.append(f"L{place.left + place.wide:.1f} {base:.1f}Z")
    return tag(
        "path",
        d="".join(points),
        fill=palette.colour(row),
        class_=f"{palette.fill_class(row)} ridge",
        fill_opacity=0.55,
        stroke="none",
    )


def _dot(dot: Dot, middle: float, row: int, place: _Place, radius: float) -> Markup:
    x, colour = place.x(dot.at), palette.colour(row)
    title = [tag("title", dot.title)] if dot.title else []
    if not dot.is_answer:
        d = f"M{x - 4:.1f} {middle - 4:.1f}l8 8m0 -8l-8 8"
        return tag(
            "path", *title, d=d, fill="none", stroke=colour, stroke_width=2,
            class_=palette.stroke_class(row),
        )  # fmt: skip
    ring = [
        tag(
            "circle", cx=x, cy=middle, r=1.75 * radius, fill="none", stroke=colour,
            stroke_width=radius / 2.5,
            class_=palette.stroke_class(row),
        )
    ]  # fmt: skip
    circle = tag(
        "circle", *title, cx=x, cy=middle, r=radius, fill=colour, class_=palette.fill_class(row)
    )
    return Markup("".join([*(ring if dot.is_chosen else []), circle]))


def _end(label: str, at: float, place: _Place, bottom: float) -> Markup:
    x = place.x(at)
    line = tag(
        "line", x1=x, y1=_TOP - 8, x2=x, y2=bottom, stroke=palette.SOFT, stroke_dasharray="3 3",
        class_="guide",
    )  # fmt: skip
    anchor = "end" if x > place.left + 0.8 * place.wide else "middle"
    return Markup(line + write(label, min(x, WIDTH - 4), _TOP - 14, anchor=anchor))


def _answer(at: float, place: _Place, bottom: float) -> list[Markup]:
    x = place.x(at)
    line = tag(
        "line", tag("title", f"answered after {at:g} ms"), x1=x, y1=_TOP - 4, x2=x, y2=bottom,
        stroke=palette.INK, stroke_width=2, class_="answer",
    )  # fmt: skip
    mark = tag("path", d=f"M{x - 5:.1f} {_TOP - 10:.1f}h10l-5 7z", fill=palette.INK, class_="ink")
    return [line, mark]


def _handle(handle: Handle, place: _Place, bottom: float) -> Markup:
    """Draw what can be dragged; drawn at 0 and moved, so that a script moves it by one value."""
    line = tag(
        "line", x1=0, y1=_TOP - 8, x2=0, y2=bottom, stroke=palette.INK, stroke_width=1.5,
        class_="answer",
    )  # fmt: skip
    grip = tag("rect", x=-7, y=_TOP - 24, width=14, height=18, rx=4, fill=palette.INK, class_="ink")
    area = tag(
        "rect", x=-11, y=_TOP - 28, width=22, height=bottom - _TOP + 28, fill_opacity=0, fill="#000"
    )
    return tag(
        "g",
        tag("title", handle.label),
        line,
        grip,
        area,
        class_="handle",
        transform=f"translate({place.x(handle.at):.2f} 0)",
        data_handle=handle.name,
    )
