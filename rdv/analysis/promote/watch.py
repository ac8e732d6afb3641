"""Watch a new champion: live answers against limits, judged at any time. Pure.

Answers are counted in blocks; the last two blocks together show the current state. A limit is
broken if the share is surely above it, by an interval that is valid after every answer
(`proportion_sequence`), so that chance causes no rollback, and a real fault does within seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from rdv.analysis.charts.format import share
from rdv.analysis.statistics.ab.sequence import proportion_sequence

ANSWERS_MIN = 20
BLOCK_ANSWERS = 1000
CONFIDENCE = 0.999

OF = {
    "misses": "answers", "defaults": "answers", "errors": "reports", "others": "answers",
    "disagreements": "pairs", "low_scores": "scored", "middle_scores": "scored",
    "high_scores": "scored", "worse": "differing",
}  # fmt: skip
"""What is counted, and of what."""
KINDS = tuple(OF)


@dataclass(frozen=True)
class Bounds:
    """The largest shares that are tolerated; None where nothing is known to hold them against."""

    misses: float
    """Answers later than the SLA, or by a proxy itself."""
    defaults: float
    errors: float
    """Errors among the new champion's reports."""
    others: float
    """Answers of another model than the new champion."""
    disagreements: float | None = None
    """Requests that it and the old champion answer differently."""
    low_scores: float | None = None
    """Scores as low as the lowest twentieth of those that it was judged by."""
    middle_scores: float | None = None
    high_scores: float | None = None
    worse: float | None = None
    """Of the outcomes for which one of the two answers is better, those where that is the old
    champion's.
    """

    @property
    def shares(self) -> dict[str, float]:
        """Return the limits that there are, by kind."""
        limits = {kind: getattr(self, kind) for kind in KINDS}
        return {kind: limit for kind, limit in limits.items() if limit is not None}


@dataclass(frozen=True)
class Fact:
    """One more of `of`, which belongs to the kinds that are true."""

    of: str
    kinds: Mapping[str, bool]


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
            "disagreements": "answers that differ from the old champion's",
            "low_scores": "scores as low as the lowest that it was judged by",
            "middle_scores": "scores in the middle of those that it was judged by",
            "high_scores": "scores as high as the highest that it was judged by",
            "worse": "outcomes that show the new champion wrong and the old one right",
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

    def note(self, fact: Fact) -> None:
        """Add a fact about the models' scores, in order of time."""
        for one in (self._blocks[-1], self.totals):
            one[fact.of] += 1
            for kind, is_so in fact.kinds.items():
                one[kind] += is_so

    def breaches(self) -> list[Breach]:
        """Return the limits that are broken now."""
        now: Counter[str] = Counter()
        for counts in self._blocks:
            now += counts
        found = []
        for kind, limit in self.bounds.shares.items():
            of = now[OF[kind]]
            count = now[kind]
            if of < ANSWERS_MIN or count <= limit * of:
                continue
            if proportion_sequence(count, of, CONFIDENCE).low > limit:
                found.append(Breach(kind, count, of, limit))
        return found
