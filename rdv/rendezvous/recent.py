"""A `RecentIds` remembers recent ids, bounded in number and age."""

from __future__ import annotations


class RecentIds:
    """A `RecentIds` keeps ids in two generations: a full or aged young one replaces the old one.

    So an id is remembered for between `age_ns` and twice that, there are never more than
    `max_count`, and no id needs a place in a queue or a time of its own. One thread at a time.
    """

    __slots__ = ("_age_ns", "_half", "_old", "_since_ns", "_young")

    def __init__(self, max_count: int, age_ns: int) -> None:
        self._half = max(1, max_count // 2)
        self._age_ns = age_ns
        self._since_ns = 0
        self._young: set[str] = set()
        self._old: set[str] = set()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._young or id_ in self._old

    def add(self, id_: str, now_ns: int) -> None:
        young = self._young
        if not young:
            self._since_ns = now_ns
        elif len(young) >= self._half or now_ns - self._since_ns >= self._age_ns:
            self._old = young
            self._young = young = set()
            self._since_ns = now_ns
        young.add(id_)
