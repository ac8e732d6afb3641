"""Draw charts as SVG: no scripts, no external files, usable alone and inside a page."""

from __future__ import annotations

from rdv.analysis.charts.svg.lanes import draw_lanes
from rdv.analysis.charts.svg.plot import draw_chart, draw_mix

__all__ = ["draw_chart", "draw_lanes", "draw_mix"]
