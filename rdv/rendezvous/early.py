"""Scores that came before their request: a bounded buffer."""

from __future__ import annotations

from msgspec import UNSET

from rdv.messages import Score
from rdv.rendezvous.counters import Counters

EarlyScore = tuple[int, Score]
"""When it came (ns on the engine's clock), and what."""


class EarlyScores:
    """Scores by request id, in two generations as in `RecentIds`; what goes is counted.

    Dropped for age: the request never came, the score was for an unknown id. Dropped for room:
    evicted. One thread at a time.
    """

    __slots__ = (
        "_age_ns",
        "_counters",
        "_half",
        "_half_bytes",
        "_old",
        "_since_ns",
        "_young",
        "_young_bytes",
        "_young_count",
    )

    def __init__(self, scores_max: int, age_ns: int, counters: Counters, bytes_max: int) -> None:
        self._half = max(1, scores_max // 2)
        self._half_bytes = bytes_max // 2
        self._young_bytes = 0
        self._age_ns = age_ns
        self._counters = counters
        self._since_ns = 0
        self._young: dict[str, list[EarlyScore]] = {}
        self._young_count = 0
        self._old: dict[str, list[EarlyScore]] = {}

    def __len__(self) -> int:
        """How many scores wait."""
        return sum(map(len, self._young.values())) + sum(map(len, self._old.values()))

    def keep(self, score: Score, now_ns: int) -> None:
        self._counters.early += 1
        self.expire(now_ns)
        size = 0 if score.result is UNSET else len(bytes(score.result))
        if self._young_count >= self._half or self._young_bytes + size > self._half_bytes:
            self._counters.evicted += self._turn(now_ns)
        if not self._young_count:
            self._since_ns = now_ns
        self._young_count += 1
        self._young_bytes += size
        self._young.setdefault(score.id, []).append((now_ns, score))

    def take(self, id_: str) -> list[EarlyScore]:
        """What waits for this request, in order of arrival; it waits no longer."""
        if not self._young and not self._old:
            return []
        return self._old.pop(id_, []) + self._young.pop(id_, [])

    def expire(self, now_ns: int) -> None:
        """Let go of what has waited too long."""
        if (self._young or self._old) and now_ns - self._since_ns >= self._age_ns:
            self._counters.unknown += self._turn(now_ns)

    def _turn(self, now_ns: int) -> int:
        """Drop the old generation; returns how many scores that were."""
        gone = sum(map(len, self._old.values()))
        self._old, self._young = self._young, {}
        self._young_count = self._young_bytes = 0
        self._since_ns = now_ns
        return gone
