"""Measure recorded answers by one metric, whatever command asks.

choose.choose_measure   which metric, and how it reads answers and outcomes
measure.Measure         what the metric needs of each request
kept.Kept               bounded columns of the requests that are judged
contrast.Contrast       two sides by the metric, their difference, and why there is none
sides.Judged            several sides on the same requests, collected batch by batch
cost, function, lists   metrics whose value is that of a pair of answer and outcome
"""

from __future__ import annotations

from rdv.analysis.measure.choose import DEFAULTS, ROBUST, choose_measure, usual_measure
from rdv.analysis.measure.contrast import Contrast, Rate, contrast_of
from rdv.analysis.measure.kept import Kept
from rdv.analysis.measure.measure import Measure

__all__ = [
    "DEFAULTS",
    "ROBUST",
    "Contrast",
    "Kept",
    "Measure",
    "Rate",
    "choose_measure",
    "contrast_of",
    "usual_measure",
]
