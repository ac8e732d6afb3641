"""Draw a chart, or stacked bars of shares, as one `<svg>`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from rdv.analysis.charts.chart import Band, Bars, Chart, Line, Mix, Points, Rule
from rdv.analysis.charts.format import share as share_text
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.charts.svg import marks as draw
from rdv.analysis.charts.svg import palette
from rdv.analysis.charts.svg.frame import WIDTH, Frame, draw_frame, make_frame
from rdv.analysis.charts.svg.text import cut, width, write

_NAME_MAX = 110.0
_NAMED_LINES_MAX = 4
_APART = 14.0  # names closer than this would cover each other
_BAR = 26.0
_STEP = 38.0
_LABEL_MAX = 150.0


def draw_chart(chart: Chart, number: int = 1) -> Markup:
    """Return one `<svg>`; `number` makes the ids of several charts in one page unique."""
    series, colours = chart.series(), chart.colours()
    guides = [mark for mark in chart.marks if isinstance(mark, Line) and mark.guide]
    legend, above = draw.draw_legend(series, guides, colours)
    lines = [mark for mark in series if isinstance(mark, Line)]
    beside = 0.0
    if len(lines) == len(series) and 1 < len(lines) <= _NAMED_LINES_MAX:
        beside = 12 + max(width(cut(line.name, _NAME_MAX)) for line in lines)
    frame = make_frame(chart, above, beside)
    names = _names(lines, frame, colours) if beside else []
    if beside and not names:  # the lines end at the same place: only the legend names them
        frame = make_frame(chart, above, 0.0)
    parts: list[Markup] = [*legend, *draw_frame(chart, frame)]
    labels, axes = draw.Labels(frame), (chart.x, chart.y)
    for kind in (Band, Bars, Rule, Line, Points):
        for mark in chart.marks:
            if type(mark) is not kind:
                continue
            colour = colours.get(mark.name, 0)
            if isinstance(mark, Band):
                parts.append(draw.draw_band(mark, frame, colour))
            elif isinstance(mark, Bars):
                parts += draw.draw_bars(mark, frame, colour, axes)
            elif isinstance(mark, Rule):
                parts.append(draw.draw_rule(mark, frame, labels))
            elif isinstance(mark, Line):
                parts.append(draw.draw_line(mark, frame, colour))
            else:
                parts += draw.draw_points(mark, frame, colour, axes, labels)
    return _svg(chart.title, chart.note, frame.height, [*parts, *labels.drawn, *names], number)


def _names(lines: list[Line], frame: Frame, colours: dict[str, int]) -> list[Markup]:
    """Write each line's name at its end; write none if they would cover each other."""
    ends = []
    for line in lines:
        shown = np.flatnonzero(np.isfinite(line.x) & np.isfinite(line.y))
        if not len(shown):
            return []
        ends.append((frame.y.place(float(line.y[shown[-1]])), line.name))
    ends.sort()
    if any(b[0] - a[0] < _APART for a, b in pairwise(ends)):
        return []
    return [
        write(
            name,
            frame.right + 6,
            y + 4,
            most=_NAME_MAX,
            class_=palette.fill_class(colours[name]),
            fill=palette.colour(colours[name]),
            weight="600",
        )
        for y, name in ends
    ]


def draw_mix(mix: Mix, number: int = 1) -> Markup:
    """Return one `<svg>`: a bar for each row, its parts in order, shares where there is room."""
    names = [cut(part, _LABEL_MAX) for part in mix.parts]
    places, height = draw.flow([18 + width(name) for name in names])
    parts: list[Markup] = []
    for n, (x, y) in enumerate(places):
        parts.append(draw.square(mix.colour(n), x, y - 10, 12, 12))
        parts.append(write(mix.parts[n], x + 18, y, most=_LABEL_MAX, ink=True))
    y = height + 8
    left = 12 + min(_LABEL_MAX, max((width(label) for label, _ in mix.rows), default=0.0))
    for label, shares in mix.shares():
        middle = y + _BAR / 2 + 4
        parts.append(write(label, left - 8, middle, anchor="end", most=_LABEL_MAX, ink=True))
        parts += _bar(mix, label, shares, left, y)
        if not any(shares):
            parts.append(write("nothing", left + 4, middle))
        y += _STEP
    for percent in range(0, 101, 25):
        anchor = {0: "start", 100: "end"}.get(percent, "middle")
        x = left + percent / 100 * (WIDTH - 20 - left)
        parts.append(write(f"{percent} %", x, y + 6, anchor=anchor))
    return _svg(mix.title, mix.note, y + 14, parts, number)


def _bar(mix: Mix, label: str, shares: list[float], left: float, y: float) -> list[Markup]:
    drawn: list[Markup] = []
    full, x = WIDTH - 20 - left, left
    for n, share in enumerate(shares):
        wide = share * full
        if wide <= 0:
            continue
        text, colour = share_text(share), mix.colour(n)
        drawn.append(
            tag(
                "rect",
                tag("title", f"{label}, {mix.parts[n]}: {text}"),
                x=x,
                y=y,
                width=wide,
                height=_BAR,
                fill=palette.colour(colour),
                stroke=palette.PAPER,
                stroke_width=1,
                class_=f"{palette.fill_class(colour)} gap",
            )
        )
        if width(text) + 6 <= wide:
            at = (x + wide / 2, y + _BAR / 2 + 4.5)
            ink = palette.readable_on(colour)
            drawn.append(
                write(text, *at, anchor="middle", class_="on-part", fill=ink, weight="600")
            )
        x += wide
    return drawn


def _svg(title: str, note: str, height: float, parts: list[Markup], number: int) -> Markup:
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
