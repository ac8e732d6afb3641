"""Draw charts as SVG: no scripts, no external files, usable alone and inside a page."""

from __future__ import annotations

from rdv.evaluation.pictures.svg.mix import draw_mix
from rdv.evaluation.pictures.svg.plot import draw_chart

__all__ = ["draw_chart", "draw_mix"]
