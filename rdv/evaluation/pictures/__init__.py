"""A chart is a value (`chart`, `kinds`) that is drawn in the terminal or on a page.

`render` returns text for the terminal, `Report` builds a standalone page, `draw_chart` and
`draw_mix` return SVG only. Nothing here touches files: the caller writes what is returned.
"""

from __future__ import annotations

from rdv.evaluation.pictures.cell import Figure, cell, share
from rdv.evaluation.pictures.chart import Axis, Band, Bars, Chart, Line, Mix, Points, Rule
from rdv.evaluation.pictures.errors import InvalidChart
from rdv.evaluation.pictures.kinds import (
    FrontierPoint,
    cumulative_chart,
    frontier_chart,
    histogram_chart,
    line_chart,
    qq_chart,
)
from rdv.evaluation.pictures.report import Report, Tone
from rdv.evaluation.pictures.svg import draw_chart, draw_mix
from rdv.evaluation.pictures.terminal import render

__all__ = [
    "Axis",
    "Band",
    "Bars",
    "Chart",
    "Figure",
    "FrontierPoint",
    "InvalidChart",
    "Line",
    "Mix",
    "Points",
    "Report",
    "Rule",
    "Tone",
    "cell",
    "cumulative_chart",
    "draw_chart",
    "draw_mix",
    "frontier_chart",
    "histogram_chart",
    "line_chart",
    "qq_chart",
    "render",
    "share",
]
