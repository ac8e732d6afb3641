"""Find out whether answers have drifted, and whether because of the input or the model."""

from __future__ import annotations

from rdv.analysis.statistics.drift.distances import (
    Bins,
    KolmogorovSmirnov,
    Psi,
    QuantileShift,
    kolmogorov_smirnov,
    psi,
    quantile_shifts,
)
from rdv.analysis.statistics.drift.timeline import (
    Cause,
    DriftWindow,
    Movement,
    Reference,
    Verdict,
    drift_over_time,
    judge,
)

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
