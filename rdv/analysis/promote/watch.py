"""Watch a new champion: live answers against limits, judged at any time. Pure.

Answers are counted in blocks; the last two blocks together show the current state. A limit is
broken if the share is surely above it, by an interval that is valid after every answer
(`proportion_sequence`), so that chance causes no rollback, and a real fault does within seconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rdv.analysis.charts.format import share
from rdv.analysis.statistics.ab.sequence import proportion_sequence

ANSWERS_MIN = 20
BLOCK_ANSWERS = 1000
CONFIDENCE = 0.999

KINDS = ("misses", "defaults", "errors", "others")


@dataclass(frozen=True)
class Bounds:
    """The largest shares that are tolerated."""

    misses: float
    """Answers later than the SLA, or by a proxy itself."""
    defaults: float
    errors: float
    """Errors among the new champion's reports."""
    others: float
    """Answers of another model than the new champion."""

    @property
    def shares(self) -> dict[str, float]:
        return {kind: getattr(self, kind) for kind in KINDS}


@dataclass(frozen=True)
class Answer:
    """What counts of one answer. `is_error` is of the champion's report; None if it made none."""

    is_miss: bool
    is_default: bool
    is_error: bool | None
    is_other: bool


@dataclass(frozen=True)
class Breach:
    """A limit that is surely broken."""

    kind: str
    count: int
    of: int
    limit: float

    def text(self) -> str:
        words = {
            "misses": "later than the SLA, or answered by a proxy itself",
            "defaults": "defaults",
            "errors": "errors of the new champion",
            "others": "answered by another model",
        }
        return (
            f"{words[self.kind]}: {self.count:,} of {self.of:,} ({share(self.count / self.of)}), "
            f"at most {share(self.limit)}"
        )


@dataclass
class WatchPeriod:
    """Counts answers during the watch period. For one thread at a time."""

    bounds: Bounds
    answers: int = 0
    totals: Counter[str] = field(default_factory=Counter)
    _blocks: list[Counter[str]] = field(default_factory=lambda: [Counter()])

    def add(self, answer: Answer) -> None:
        """Add one answer, in order of time."""
        self.answers += 1
        if self._blocks[-1]["answers"] >= BLOCK_ANSWERS:
            self._blocks = [self._blocks[-1], Counter()]
        counts = self._blocks[-1]
        for one in (counts, self.totals):
            one["answers"] += 1
            one["reports"] += answer.is_error is not None
            one["misses"] += answer.is_miss
            one["defaults"] += answer.is_default
            one["errors"] += bool(answer.is_error)
            one["others"] += answer.is_other

    def breaches(self) -> list[Breach]:
        """Return the limits that are broken now."""
        now: Counter[str] = Counter()
        for counts in self._blocks:
            now += counts
        found = []
        for kind, limit in self.bounds.shares.items():
            of = now["reports" if kind == "errors" else "answers"]
            count = now[kind]
            if of < ANSWERS_MIN or count <= limit * of:
                continue
            if proportion_sequence(count, of, CONFIDENCE).low > limit:
                found.append(Breach(kind, count, of, limit))
        return found
