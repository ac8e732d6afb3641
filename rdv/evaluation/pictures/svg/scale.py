"""Convert values to positions in the drawing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rdv.evaluation.pictures.chart import FloatArray

_FAR = 1e5  # beyond it, some viewers draw wrongly


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale on which `low` is at pixel `start`, and `high` at pixel `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def places(self, values: FloatArray) -> FloatArray:
        """Return the positions of values; NaN stays NaN, and values that a log axis cannot show
        become NaN.
        """
        low, high, shown = self.low, self.high, values
        if self.log:
            low, high = np.log10(low), np.log10(high)
            positive = values > 0
            shown = np.where(positive, np.log10(np.where(positive, values, 1.0)), np.nan)
        share = (shown - low) / (high - low)
        placed: FloatArray = np.clip(self.start + share * (self.end - self.start), -_FAR, _FAR)
        return placed

    def place(self, value: float) -> float:
        return float(self.places(np.array([value]))[0])
