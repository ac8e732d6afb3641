"""A chart is a value (`chart`, `kinds`) that is drawn in the terminal or on a page.

`render` returns text for the terminal, `Report` builds a standalone page, `draw_chart` and
`draw_mix` return SVG only. Nothing here touches files: the caller writes what is returned.
"""

from __future__ import annotations

from rdv.analysis.charts.chart import Axis, Band, Bars, Chart, InvalidChart, Line, Mix, Points, Rule
from rdv.analysis.charts.format import Figure, cell, number, p_value, share, signed
from rdv.analysis.charts.kinds import (
    FrontierPoint,
    cumulative_chart,
    frontier_chart,
    histogram_chart,
    line_chart,
    qq_chart,
)
from rdv.analysis.charts.page import Report, Tone
from rdv.analysis.charts.svg import draw_chart, draw_mix
from rdv.analysis.charts.terminal import render

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
    "number",
    "p_value",
    "qq_chart",
    "render",
    "share",
    "signed",
]
