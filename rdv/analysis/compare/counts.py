"""Count one model's outcomes and latencies, and two models' classes, batch by batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from rdv.analysis.compare.pairs import ModelReports
from rdv.analysis.dataset.joined import ABSENT, NONE, NOT_SAMPLED, OUTCOMES, Names, count_codes
from rdv.analysis.errors import TooManyValues
from rdv.analysis.statistics import ClassAgreement, Digest, agreement_of_table
from rdv.analysis.statistics.agreement import CLASSES_MAX

CELLS_MAX = 100_000
_OUTCOMES = tuple(outcome or "silent" for outcome in OUTCOMES)


@dataclass
class Tally:
    """Sums since the model's first report; `window_ms` is until when its answer is wanted."""

    window_ms: float | None = None
    before: int = 0
    """The number of requests before its first report, when it did not run yet."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Counts by outcome; "silent" for no report at all."""
    in_window: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    """Results by version."""
    version: str | None = None
    """The newest version: that of the last result."""
    arrival_ms: Digest = field(default_factory=Digest)
    evaluation_ms: Digest = field(default_factory=Digest)
    numbers: Digest = field(default_factory=Digest)

    def add(self, reports: ModelReports, versions: Names) -> None:
        """Add one batch, its requests in order of time."""
        outcome = reports.outcome
        if not self.outcomes:
            has_begun = np.flatnonzero((outcome != ABSENT) & (outcome != NOT_SAMPLED))
            first = int(has_begun[0]) if len(has_begun) else len(outcome)
            self.before += first
            outcome = outcome[first:]
        self.outcomes.update(count_codes(outcome, _OUTCOMES))
        for digest, values in (
            (self.arrival_ms, reports.arrival_ms),
            (self.evaluation_ms, reports.evaluation_ms),
            (self.numbers, reports.number),
        ):
            digest.add(values[np.isfinite(values)])
        if self.window_ms is not None:
            self.in_window += int((reports.arrival_ms <= self.window_ms).sum())
        codes = reports.version[reports.version != NONE]
        if len(codes):
            names = versions.names()
            self.versions.update(count_codes(codes, names))
            self.version = names[int(codes[-1])]


@dataclass
class ClassCounts:
    """Requests by (first's class, second's class). Raises TooManyValues beyond `CELLS_MAX`."""

    on: str | None = None
    cells: Counter[tuple[float, float]] = field(default_factory=Counter)

    def add(self, first: ModelReports, second: ModelReports) -> None:
        known = ~np.isnan(first.label) & ~np.isnan(second.label)
        pairs = np.stack([first.label[known], second.label[known]], axis=1)
        kinds, counts = np.unique(pairs, axis=0, return_counts=True)
        self.cells.update(dict(zip(map(tuple, kinds.tolist()), counts.tolist(), strict=True)))
        if len(self.cells) > CELLS_MAX:
            raise TooManyValues(self.on or "", CELLS_MAX)

    def agreement(self, confidence: float) -> ClassAgreement | None:
        """Return the agreement, `classes` as codes; None without classes, or with over 1,000."""
        codes = sorted({code for cell in self.cells for code in cell})
        if not codes or len(codes) > CLASSES_MAX:
            return None
        table = np.zeros((len(codes), len(codes)), np.int64)
        for cell, count in self.cells.items():
            table[tuple(np.searchsorted(codes, cell))] = count
        return agreement_of_table(tuple(codes), table, confidence)
