"""Count the classes of one model against those of the other, batch by batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from rdv.evaluation.compare.said import Said
from rdv.evaluation.errors import TooManyValues
from rdv.evaluation.statistics import ClassAgreement, agreement_of_table
from rdv.evaluation.statistics.agreement import CLASSES_MAX

CELLS_MAX = 100_000


@dataclass
class ClassCounts:
    """Requests by (first's class, second's class). Raises TooManyValues beyond `CELLS_MAX`."""

    on: str | None = None
    cells: Counter[tuple[float, float]] = field(default_factory=Counter)

    def add(self, first: Said, second: Said) -> None:
        known = ~np.isnan(first.label) & ~np.isnan(second.label)
        pairs = np.stack([first.label[known], second.label[known]], axis=1)
        kinds, counts = np.unique(pairs, axis=0, return_counts=True)
        for (a, b), count in zip(kinds.tolist(), counts.tolist(), strict=True):
            self.cells[a, b] += count
        if len(self.cells) > CELLS_MAX:
            raise TooManyValues(self.on or "", CELLS_MAX)

    def agreement(self, confidence: float) -> ClassAgreement | None:
        """Return the agreement, with `classes` as codes; None if answers have no class, or more
        than 1,000.
        """
        codes = sorted({code for cell in self.cells for code in cell})
        if not codes or len(codes) > CLASSES_MAX:
            return None
        table = np.zeros((len(codes), len(codes)), np.int64)
        at = {code: n for n, code in enumerate(codes)}
        for (a, b), count in self.cells.items():
            table[at[a], at[b]] = count
        return agreement_of_table(tuple(codes), table, confidence)
