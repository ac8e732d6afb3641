"""Learns the cost of a batch, a fixed part and one per row, from the batches so far. Pure.

Least squares of time over rows, in which older batches count for less and less (a recursive fit
with a forgetting factor: Ljung, System Identification, 11.2).
"""

from __future__ import annotations

from dataclasses import dataclass

KEPT = 0.9
"""The weight of earlier batches, when another batch has been seen."""

DOUBTED = 0.3
"""The same after a batch that was far quicker than expected: a first call is often slow, and a
model that takes it for its speed would refuse what it can do.
"""

STUTTER = 4.0
"""A batch counts for at most this many times the expected cost, so that one stutter does not count
as normal; if it is normal, that is learned all the same, within some batches.
"""

TRUST = 0.2
"""How far one batch moves the estimate towards the best fit."""

SPREAD_MIN = 0.25
"""Variance of the rows below which the two parts cannot be told from each other."""


@dataclass
class Cost:
    """Estimates the cost of one model's batches. For one thread."""

    row_ms: float = 0.0
    fixed_ms: float = 0.0
    _weight: float = 0.0
    _rows: float = 0.0
    _took: float = 0.0
    _rows_rows: float = 0.0
    _rows_took: float = 0.0

    def learn(self, rows: int, took_ms: float) -> None:
        """Add a batch of `rows` rows that took `took_ms`."""
        expected_ms = self.of(rows)
        if expected_ms:
            took_ms = min(took_ms, STUTTER * expected_ms)
        is_doubted = took_ms < expected_ms / 2
        kept = DOUBTED if is_doubted else KEPT
        self._weight = kept * self._weight + 1
        self._rows = kept * self._rows + rows
        self._took = kept * self._took + took_ms
        self._rows_rows = kept * self._rows_rows + rows * rows
        self._rows_took = kept * self._rows_took + rows * took_ms
        fixed_ms, row_ms = self._fit()
        trust = 1.0 if not expected_ms else 0.6 if is_doubted else TRUST
        self.fixed_ms += trust * (fixed_ms - self.fixed_ms)
        self.row_ms += trust * (row_ms - self.row_ms)

    def _fit(self) -> tuple[float, float]:
        """Return the fixed part and the part of a row, in milliseconds."""
        rows, took = self._rows / self._weight, self._took / self._weight
        spread = self._rows_rows / self._weight - rows * rows
        if spread < SPREAD_MIN:  # batches of one size: the fixed part cannot be determined
            return 0.0, took / rows
        slope = (self._rows_took / self._weight - rows * took) / spread
        slope = min(max(0.0, slope), took / rows)
        return max(0.0, took - slope * rows), slope

    def of(self, rows: int) -> float:
        """Return the expected milliseconds of a batch; 0 as long as nothing is known."""
        return self.fixed_ms + self.row_ms * rows
