"""A `BoundedCache` is bounded in entries and in bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

_V = TypeVar("_V")
_SHARE = 4


class BoundedCache(Generic[_V]):
    """A `BoundedCache` keeps values by key; when it is full, the oldest entries are evicted.

    One thread at a time. `bytes_max` limits the sum of the sizes that callers pass to `put`, which
    are estimates: for values parsed from JSON, the JSON's length. A value larger than a quarter of
    it is not kept.
    """

    __slots__ = ("_bytes", "_bytes_max", "_entries_max", "_found")

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self._entries_max, self._bytes_max = entries_max, bytes_max
        self._found: dict[bytes, tuple[_V, int]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._found)

    @property
    def size_bytes(self) -> int:
        """Return the sizes of all entries together, in bytes."""
        return self._bytes

    def get(self, key: bytes) -> _V | None:
        found = self._found.get(key)
        return None if found is None else found[0]

    def values(self) -> Iterator[_V]:
        """Return the values, in no particular order."""
        return (value for value, _ in self._found.values())

    def put(self, key: bytes, value: _V, size: int) -> None:
        """Keep `value`, which takes about `size` bytes, in place of an earlier one."""
        if (before := self._found.pop(key, None)) is not None:
            self._bytes -= before[1]
        if size > self._bytes_max // _SHARE:
            return
        self._found[key] = value, size
        self._bytes += size
        while self._bytes > self._bytes_max or len(self._found) > self._entries_max:
            oldest = next(iter(self._found))
            self._bytes -= self._found.pop(oldest)[1]
