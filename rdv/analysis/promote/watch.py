"""Watch a new champion: live answers against limits, judged at any time. Pure.

What is counted of the latest requests shows the current state (`Window`). A limit is broken if the
share is surely above it, by an interval that is valid after every answer (`proportion_sequence`),
so that chance causes no rollback, and a real fault does within seconds. The unit is the key: a
burst of bad requests of one key breaks no limit, as many of different keys do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from rdv.analysis.charts.format import share
from rdv.analysis.promote.window import Unit, Window, independent
from rdv.analysis.statistics.ab.sequence import proportion_sequence

ANSWERS_MIN = 20
BAD_KEYS_MIN = 3
"""How many keys must have bad requests, at least, before a limit counts as broken."""
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
    unit: Unit | None = None
    """The key of the request; None: it is a unit of its own."""


@dataclass(frozen=True)
class Answer:
    """What counts of one answer. `is_error` is of the champion's report; None if it made none."""

    is_miss: bool
    is_default: bool
    is_error: bool | None
    is_other: bool
    unit: Unit | None = None
    """The key of the request; None: it is a unit of its own."""


@dataclass(frozen=True)
class Breach:
    """A limit that is surely broken."""

    kind: str
    count: int
    of: int
    limit: float
    keys: int
    """How many keys these `count` requests have."""

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
        keys = f" of {self.keys:,} keys" if self.keys < self.count else ""
        return (
            f"{words[self.kind]}: {self.count:,} of {self.of:,} ({share(self.count / self.of)})"
            f"{keys}, at most {share(self.limit)}"
        )


@dataclass
class WatchPeriod:
    """Counts answers during the watch period. For one thread at a time."""

    bounds: Bounds
    totals: Counter[str] = field(default_factory=Counter)
    _windows: dict[str, Window] = field(
        default_factory=lambda: {
            of: Window(kind for kind in KINDS if OF[kind] == of) for of in set(OF.values())
        }
    )

    @property
    def answers(self) -> int:
        return self.totals["answers"]

    @property
    def few_keys(self) -> int | None:
        """Return how many keys the latest answers have, if too few to break a limit; else None."""
        keys = self._windows["answers"].keys
        return keys if 0 < keys < BAD_KEYS_MIN else None

    def add(self, answer: Answer) -> None:
        """Add one answer, in order of time."""
        kinds = {
            "misses": answer.is_miss, "defaults": answer.is_default, "others": answer.is_other
        }  # fmt: skip
        self.note(Fact("answers", kinds, answer.unit))
        if answer.is_error is not None:
            self.note(Fact("reports", {"errors": answer.is_error}, answer.unit))

    def note(self, fact: Fact) -> None:
        """Add a fact about an answer, or about the models' scores, in order of time."""
        self.totals[fact.of] += 1
        for kind, is_so in fact.kinds.items():
            self.totals[kind] += is_so
        if (window := self._windows.get(fact.of)) is not None:
            window.add(fact.unit, fact.kinds)

    def breaches(self) -> list[Breach]:
        """Return the limits that are broken now."""
        found = [self._breach(kind, limit) for kind, limit in self.bounds.shares.items()]
        return [one for one in found if one is not None]

    def _breach(self, kind: str, limit: float) -> Breach | None:
        window = self._windows[OF[kind]]
        of, count = window.requests, window.count(kind)
        if of < ANSWERS_MIN or count <= limit * of or not _is_above(count, of, limit):
            return None  # independent requests would tell the most
        counts, sizes = window.by_key(kind)
        keys = int((counts > 0).sum())
        if keys < BAD_KEYS_MIN or not _is_above(*independent(counts, sizes), limit):
            return None
        return Breach(kind, count, of, limit, keys)


def _is_above(count: float, of: float, limit: float) -> bool:
    return proportion_sequence(count, of, CONFIDENCE).low > limit
