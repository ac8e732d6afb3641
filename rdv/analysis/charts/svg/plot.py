"""Put a chart together."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from rdv.analysis.charts.chart import Band, Bars, Chart, Line, Mark, Points, Rule
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.charts.svg import marks as draw
from rdv.analysis.charts.svg.frame import WIDTH, Frame, draw_frame, make_frame, write
from rdv.analysis.charts.svg.marks import draw_legend
from rdv.analysis.charts.svg.palette import colour, cut, fill_class, width

_NAME_MAX = 90.0
_NAMED_LINES_MAX = 4
_APART = 14.0  # names closer than this would cover each other


def draw_chart(chart: Chart, number: int = 1) -> Markup:
    """Return one `<svg>`; `number` makes the ids of several charts in one page unique."""
    series = chart.series()
    numbers = {mark.name: n for n, mark in reversed(list(enumerate(series)))}
    guides = [mark for mark in chart.marks if isinstance(mark, Line) and mark.guide]
    legend, above = draw_legend(series, guides)
    lines = [mark for mark in series if isinstance(mark, Line)]
    beside = 0.0
    if len(lines) == len(series) and 1 < len(lines) <= _NAMED_LINES_MAX:
        beside = 12 + max(width(cut(line.name, _NAME_MAX)) for line in lines)
    frame = make_frame(chart, above, beside)
    names = _names(lines, frame) if beside else []
    if beside and not names:  # the lines end at the same place: only the legend names them
        frame = make_frame(chart, above, 0.0)
    parts: list[Markup] = [*legend, *draw_frame(chart, frame)]
    for kind in (Band, Bars, Line, Points, Rule):
        for mark in chart.marks:
            if type(mark) is kind:
                parts += _mark(mark, chart, frame, numbers.get(mark.name, 0))
    return svg(chart.title, chart.note, frame.height, [*parts, *names], number)


def svg(title: str, note: str, height: float, parts: list[Markup], number: int) -> Markup:
    """Return the element itself, with title and description for screen readers."""
    return tag(
        "svg",
        tag("title", title, id=f"title-{number}"),
        tag("desc", note or title, id=f"desc-{number}"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:.0f} {height:.0f}",
        role="img",
        aria_labelledby=f"title-{number} desc-{number}",
        font_family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
    )


def _mark(mark: Mark, chart: Chart, frame: Frame, number: int) -> list[Markup]:
    axes = (chart.x, chart.y)
    if isinstance(mark, Line):
        return [draw.draw_line(mark, frame, number)]
    if isinstance(mark, Band):
        return [draw.draw_band(mark, frame, number)]
    if isinstance(mark, Bars):
        return draw.draw_bars(mark, frame, number, axes)
    if isinstance(mark, Points):
        return draw.draw_points(mark, frame, number, axes)
    return draw.draw_rule(mark, frame)


def _names(lines: list[Line], frame: Frame) -> list[Markup]:
    """Write each line's name at its end; write none if they would cover each other."""
    ends = []
    for number, line in enumerate(lines):
        shown = np.flatnonzero(np.isfinite(line.x) & np.isfinite(line.y))
        if not len(shown):
            return []
        ends.append((frame.y.place(float(line.y[shown[-1]])), number, line.name))
    ends.sort()
    if any(b[0] - a[0] < _APART for a, b in pairwise(ends)):
        return []
    return [
        write(
            cut(name, _NAME_MAX),
            frame.right + 6,
            y + 4,
            class_=fill_class(number),
            fill=colour(number),
            weight="600",
        )
        for y, number, name in ends
    ]
