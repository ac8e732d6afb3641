"""Find out whether answers have drifted, and whether because of the input or the model."""

from __future__ import annotations

from rdv.evaluation.statistics.drift.bins import Bins
from rdv.evaluation.statistics.drift.kolmogorov_smirnov import KolmogorovSmirnov, kolmogorov_smirnov
from rdv.evaluation.statistics.drift.movement import Movement, Reference
from rdv.evaluation.statistics.drift.psi import Psi, psi
from rdv.evaluation.statistics.drift.shift import QuantileShift, quantile_shifts
from rdv.evaluation.statistics.drift.timeline import DriftWindow, drift_over_time
from rdv.evaluation.statistics.drift.verdict import Cause, Verdict, judge

__all__ = [
    "Bins",
    "Cause",
    "DriftWindow",
    "KolmogorovSmirnov",
    "Movement",
    "Psi",
    "QuantileShift",
    "Reference",
    "Verdict",
    "drift_over_time",
    "judge",
    "kolmogorov_smirnov",
    "psi",
    "quantile_shifts",
]
