"""The notes of a result say what a reader must know of the log that it was made from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

GAPS_MAX = 100
IDS_MAX = 1_000


@dataclass
class Notes:
    """Counts, and gaps as text; filled while the log is read. For one thread at a time."""

    requests: int = 0
    scores: int = 0
    results: int = 0
    own_answers: int = 0
    """The number of answers that a proxy gave by itself."""

    unanswered: int = 0
    """The number of requests with neither a server's result nor a proxy's."""

    duplicate_requests: int = 0
    duplicate_scores: int = 0
    duplicate_results: int = 0
    """The number of repeated messages of an id; the first one counts, as for the engine."""

    orphan_scores: int = 0
    orphan_results: int = 0
    """Messages of no request that was read: older than the log or `since`, or far too late."""

    strays: list[str] = field(default_factory=list)
    twice_answered: list[str] = field(default_factory=list)
    """Ids of results without a request that should be recorded, and of requests that got two
    results from servers, or two from a proxy; a thousand at most (`stray_count` is the full
    number).
    """

    stray_count: int = 0

    not_asked: int = 0
    """Answers that a proxy gave without asking the models: overload, or a full disk."""

    missing_scores: int = 0
    """The number of arrivals whose score is not recorded (any more)."""

    damaged: int = 0
    """The number of records that cannot be read."""

    lost: int = 0
    """The number of records that retention deleted while reading, or that a repair has given up."""

    malformed: Counter[str] = field(default_factory=Counter)
    """The number of records that are not messages, by stream."""

    unreadable: Counter[str] = field(default_factory=Counter)
    """The number of values of messages that are not readable JSON, by what they are: 0.1.0 accepted
    more than it could read again. They count as missing; equal answers are counted once.
    """

    gaps: list[str] = field(default_factory=list)
    """Places where the log is not whole, as text; a hundred at most."""

    arrival_error_ms: float | None = None
    """The error of the arrivals of late scores, which 95 % of those that can be checked keep."""

    estimated_arrivals: int = 0
    """Scores that came after their decision; their arrival is estimated from their append time."""

    def stray(self, id_: str) -> None:
        """Note a result whose request should be recorded, and is not."""
        self.stray_count += 1
        if len(self.strays) < IDS_MAX:
            self.strays.append(id_)

    def twice(self, id_: str) -> None:
        """Note a request that was answered twice."""
        if len(self.twice_answered) < IDS_MAX:
            self.twice_answered.append(id_)

    def gap(self, text: str) -> None:
        """Note that something is missing here."""
        if len(self.gaps) < GAPS_MAX and text not in self.gaps:
            self.gaps.append(text)

    def lines(self) -> list[str]:
        """Return what is worth reporting, one sentence each; nothing if all is ordinary."""
        counted = [
            (self.duplicate_requests, "duplicate requests: the first counts"),
            (self.duplicate_scores, "duplicate scores: the first counts"),
            (self.duplicate_results, "requests with two results: the first counts"),
            (self.orphan_scores, "scores of requests that are not in this part of the log"),
            (self.orphan_results, "results of requests that are not in this part of the log"),
            (self.stray_count, "results have no request"),
            (
                self.not_asked,
                "answers were given without asking the models (overload, full disk …)",
            ),
            (self.missing_scores, "arrivals whose scores are no longer recorded"),
            (self.damaged, "damaged records were passed over"),
            (self.lost, "records are gone by retention or repair"),
            *(
                (count, f"records in {name} are no messages")
                for name, count in sorted(self.malformed.items())
            ),
            *(
                (count, f"{name} are unreadable (nested too deeply, or a number too large)")
                for name, count in sorted(self.unreadable.items())
            ),
        ]
        found = [f"{count:,} {text}" for count, text in counted if count]
        if self.estimated_arrivals and self.arrival_error_ms is not None:
            found.append(
                f"{self.estimated_arrivals:,} scores came after their decision: their arrival is "
                f"known to about {max(self.arrival_error_ms, 0.01):.2g} ms"
            )
        return found + self.gaps
