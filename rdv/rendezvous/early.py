"""An `EarlyScores` is a bounded buffer of scores that came before their request."""

from __future__ import annotations

from msgspec import UNSET

from rdv.messages import Score
from rdv.rendezvous.counters import Counters

EarlyScore = tuple[int, Score]
"""The arrival (ns on the engine's clock), and the score."""


class EarlyScores:
    """An `EarlyScores` keeps scores by request id, in two generations as `RecentIds` does.

    Dropped scores are counted. Those dropped for age are unknown: their request never came. Those
    dropped for lack of space are evicted. One thread at a time.
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
        """Return how many scores wait."""
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
        """Remove and return the scores that wait for this request, in order of arrival."""
        if not self._young and not self._old:
            return []
        return self._old.pop(id_, []) + self._young.pop(id_, [])

    def expire(self, now_ns: int) -> None:
        """Drop the scores that have waited too long."""
        if (self._young or self._old) and now_ns - self._since_ns >= self._age_ns:
            self._counters.unknown += self._turn(now_ns)

    def _turn(self, now_ns: int) -> int:
        """Drop the old generation; returns how many scores it had."""
        gone = sum(map(len, self._old.values()))
        self._old, self._young = self._young, {}
        self._young_count = self._young_bytes = 0
        self._since_ns = now_ns
        return gone
