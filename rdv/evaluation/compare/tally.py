"""Count one model's outcomes and latencies, batch by batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from rdv.evaluation.coded import NONE, Names
from rdv.evaluation.compare.said import Said
from rdv.evaluation.joined import ABSENT, NOT_SAMPLED, OUTCOMES
from rdv.evaluation.statistics import Digest


@dataclass
class Tally:
    """Sums over all requests since the model's first report.

    `window_ms` is until when its answer is wanted.
    """

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

    def add(self, said: Said, versions: Names) -> None:
        """Add one batch, its requests in order of time."""
        outcome = said.outcome
        if not self.outcomes:
            has_begun = np.flatnonzero((outcome != ABSENT) & (outcome != NOT_SAMPLED))
            first = int(has_begun[0]) if len(has_begun) else len(outcome)
            self.before += first
            outcome = outcome[first:]
        for code, count in enumerate(np.bincount(outcome, minlength=len(OUTCOMES)).tolist()):
            if count:
                self.outcomes[OUTCOMES[code] or "silent"] += count
        for digest, values in (
            (self.arrival_ms, said.arrival_ms),
            (self.evaluation_ms, said.evaluation_ms),
            (self.numbers, said.number),
        ):
            digest.add(values[np.isfinite(values)])
        if self.window_ms is not None:
            self.in_window += int((said.arrival_ms <= self.window_ms).sum())
        self._add_versions(said, versions)

    def _add_versions(self, said: Said, versions: Names) -> None:
        codes = said.version[said.version != NONE]
        if not len(codes):
            return
        names = versions.names()
        for code, count in enumerate(np.bincount(codes).tolist()):
            if count:
                self.versions[names[code]] += count
        self.version = names[int(codes[-1])]
