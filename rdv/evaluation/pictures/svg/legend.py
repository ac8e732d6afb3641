"""The legend above the chart names the series."""

from __future__ import annotations

from collections.abc import Sequence

from rdv.evaluation.pictures.chart import Bars, Line, Mark, Points
from rdv.evaluation.pictures.markup import Markup, tag
from rdv.evaluation.pictures.svg import palette
from rdv.evaluation.pictures.svg.frame import WIDTH, write
from rdv.evaluation.pictures.svg.letters import cut, width
from rdv.evaluation.pictures.svg.marks import shape

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
