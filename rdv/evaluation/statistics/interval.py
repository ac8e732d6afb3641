"""An interval is an estimate and how far it can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """`low` to `high` covers the truth with `confidence`, in the unit of what was measured.

    An end of minus or plus infinity means that the data are too few to bound that side. `method`
    names how it was made. `peeking` means that it stays valid however often, and whenever, one
    looks (a confidence sequence); otherwise it is valid for one look, decided in advance.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    method: str
    peeking: bool = False

    def covers(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def bounded(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)
