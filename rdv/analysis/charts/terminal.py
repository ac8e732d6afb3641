"""Draw charts in a terminal, with plotext."""

from __future__ import annotations

from typing import Any

import numpy as np

from rdv.analysis.charts.axis import extent, ticks
from rdv.analysis.charts.chart import (
    Band,
    Bars,
    Chart,
    FloatArray,
    Line,
    Mark,
    Mix,
    Points,
    Rule,
    thin_line,
    thin_rows,
)
from rdv.analysis.charts.format import share

WIDTH = 78
HEIGHT = 20
WIDTH_MIN, WIDTH_MAX = 30, 400
HEIGHT_MIN, HEIGHT_MAX = 8, 200
_POINTS_MAX = 4000
_SIGNS = "•x+o*#%@"
_COLOURS = (33, 208, 36, 176, 214, 81, 245, 142)  # of the 256; near Okabe & Ito's
_FILLS = "█▒▓░▞▪·:"
_GREY = 245


def render(
    chart: Chart | Mix, *, width: int = WIDTH, height: int = HEIGHT, colour: bool = False
) -> str:
    """Return lines of text no wider than `width` columns; escape sequences only with `colour`.

    Without colour, series differ by their sign. Not thread-safe: plotext has one drawing for the
    whole process. Names are made printable, so that data cannot control the terminal.
    """
    width = min(max(width, WIDTH_MIN), WIDTH_MAX)
    height = min(max(height, HEIGHT_MIN), HEIGHT_MAX)
    if isinstance(chart, Mix):
        return _mix(chart, width, colour=colour)
    return _chart(chart, width, height, colour=colour)


def _chart(chart: Chart, width: int, height: int, *, colour: bool) -> str:
    import plotext

    series = chart.series()
    numbers = chart.colours()
    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.plotsize(width, height)
    plotext.theme("clear")
    _axes(plotext, chart, width)
    for mark in chart.marks:
        _draw(plotext, mark, chart, numbers.get(mark.name, 0), is_alone=len(series) == 1)
    drawn = plotext.build()
    plotext.clear_figure()
    if not colour:
        drawn = plotext.uncolorize(drawn)
    lines = [line.rstrip() for line in drawn.splitlines()]
    while lines and not plotext.uncolorize(lines[-1]).strip():
        lines.pop()
    head = [_fit(chart.title, width), *_legend(chart, series, width, colour=colour)]
    head.append(_fit(chart.y.caption, width))
    return "\n".join([*head, *lines, *([_fit(chart.note, width)] if chart.note else [])])


def _axes(plotext: Any, chart: Chart, width: int) -> None:
    for which, axis in (("x", chart.x), ("y", chart.y)):
        low, high = extent(chart, which)  # type: ignore[arg-type]
        marks = ticks(axis, low, high, max(3, width // 14) if which == "x" else 5)
        if axis.log:  # plotext's log axis has no settable ends: plot logarithms instead
            low, high = np.log10(low), np.log10(high)
            marks = [(float(np.log10(value)), text) for value, text in marks]
        set_ticks = plotext.xticks if which == "x" else plotext.yticks
        if axis.categories:
            most = max(3, (width - 10) // max(1, len(marks)) - 1)
            marks = [(value, _fit(text, most)) for value, text in marks]
        set_ticks([value for value, _ in marks], [text for _, text in marks])
        (plotext.xlim if which == "x" else plotext.ylim)(low, high)
    plotext.xlabel(_printable(chart.x.caption))


def _draw(plotext: Any, mark: Mark, chart: Chart, number_: int, *, is_alone: bool) -> None:
    look = {"color": _COLOURS[number_ % len(_COLOURS)], "marker": _SIGNS[number_ % len(_SIGNS)]}
    if isinstance(mark, Rule):
        at = np.log10(mark.at) if (chart.x if mark.axis == "x" else chart.y).log else mark.at
        (plotext.vline if mark.axis == "x" else plotext.hline)(float(at), _GREY)
    elif isinstance(mark, Bars):
        x, y = np.r_[mark.edges[0], mark.edges], np.r_[0.0, mark.heights, 0.0]
        _line(plotext, chart, x, y, {**look, "marker": "hd", "fillx": True}, stepped=True)
    elif isinstance(mark, Line):
        if mark.guide:
            look = {"color": _GREY, "marker": "·"}
        elif is_alone:
            look["marker"] = "braille"
        _line(plotext, chart, *thin_line(mark.x, mark.y, _POINTS_MAX), look, stepped=mark.stepped)
    elif isinstance(mark, Band):
        look["marker"] = "·"
        for edge in (mark.low, mark.high):
            _line(plotext, chart, *thin_line(mark.x, edge, _POINTS_MAX), look)
    else:
        _points(plotext, chart, mark, look)


def _points(plotext: Any, chart: Chart, mark: Points, look: dict[str, Any]) -> None:
    rows = thin_rows(len(mark.x), _POINTS_MAX)
    if mark.y_low is not None and mark.y_high is not None:
        bar = {**look, "marker": "│"}
        for row in rows.tolist():
            ends = np.array([mark.y_low[row], mark.y_high[row]])
            _line(plotext, chart, np.full(2, mark.x[row]), ends, bar)
    x, y = _placed(chart, mark.x[rows], mark.y[rows])
    shown = np.isfinite(x) & np.isfinite(y)
    if shown.any():
        plotext.scatter(x[shown].tolist(), y[shown].tolist(), **look)


def _line(
    plotext: Any,
    chart: Chart,
    x: FloatArray,
    y: FloatArray,
    look: dict[str, Any],
    *,
    stepped: bool = False,
) -> None:
    """Draw a line; each part without a gap is drawn separately."""
    if stepped:
        x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
    x, y = _placed(chart, x, y)
    gaps = np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))
    for rows in np.split(np.arange(len(x)), gaps):
        kept = rows[np.isfinite(x[rows]) & np.isfinite(y[rows])]
        if len(kept):
            plotext.plot(x[kept].tolist(), y[kept].tolist(), **look)


def _placed(chart: Chart, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    return (_logged(x) if chart.x.log else x), (_logged(y) if chart.y.log else y)


def _logged(values: FloatArray) -> FloatArray:
    positive = values > 0
    return np.where(positive, np.log10(np.where(positive, values, 1.0)), np.nan)


def _legend(chart: Chart, series: list[Mark], width: int, *, colour: bool) -> list[str]:
    colours = chart.colours()
    entries = (
        [(_SIGNS[(n := colours[mark.name]) % len(_SIGNS)], mark.name, n) for mark in series]
        if len(series) > 1
        else []
    )
    entries += [("·", m.name, -1) for m in chart.marks if isinstance(m, Line) and m.guide]
    entries += [
        ("│" if m.axis == "x" else "─", m.name, -1) for m in chart.marks if isinstance(m, Rule)
    ]
    return _flow(entries, width, colour=colour)


def _flow(entries: list[tuple[str, str, int]], width: int, *, colour: bool) -> list[str]:
    """Arrange entries of `sign name` side by side, in as many lines as necessary."""
    lines, columns = [""], 0
    for sign, name, n in entries:
        entry = _fit(_printable(name), width - 4)
        if columns and columns + len(entry) + 5 > width:
            lines.append("")
            columns = 0
        lines[-1] += ("   " if columns else "") + f"{_paint(sign, n, colour=colour)} {entry}"
        columns += len(entry) + (5 if columns else 2)
    return [line for line in lines if line]


def _mix(mix: Mix, width: int, *, colour: bool) -> str:
    names = [_fit(_printable(label), width // 3) for label, _ in mix.rows]
    indent = max((len(name) for name in names), default=0)
    room = width - indent - 3
    entries = [(_FILLS[n % len(_FILLS)], part, mix.colour(n)) for n, part in enumerate(mix.parts)]
    lines = [_fit(mix.title, width), *_flow(entries, width, colour=colour)]
    for name, (_, shares) in zip(names, mix.shares(), strict=True):
        edges = np.round(np.cumsum([0.0, *shares]) * room).astype(int).tolist()
        bar = "".join(
            _paint(
                _FILLS[n % len(_FILLS)] * (edges[n + 1] - edges[n]), mix.colour(n), colour=colour
            )
            for n in range(len(shares))
        )
        lines.append(f"{name:>{indent}} │{bar}")
        texts = [
            f"{_FILLS[n % len(_FILLS)]} {share(part)}" for n, part in enumerate(shares) if part
        ]
        lines.append(_fit(f"{'':>{indent}}  {'  '.join(texts) or 'nothing'}", width))
    return "\n".join([*lines, *([_fit(mix.note, width)] if mix.note else [])])


def _paint(text: str, series: int, *, colour: bool) -> str:
    if not (colour and text):
        return text
    shade = _COLOURS[series % len(_COLOURS)] if series >= 0 else _GREY
    return f"\x1b[38;5;{shade}m{text}\x1b[0m"


def _fit(text: str, columns: int) -> str:
    shown = _printable(text)
    return shown if len(shown) <= columns else shown[: columns - 1] + "…"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
