"""An interval is an estimate and how far it can be trusted; `plain` makes results JSON values."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np


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


def plain(value: Any) -> Any:
    """Return the same value made of dicts, lists, strings, numbers, booleans and None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
