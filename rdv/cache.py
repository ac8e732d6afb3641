"""A cache that is bounded in entries and in bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

_V = TypeVar("_V")
_SHARE = 4


class BoundedCache(Generic[_V]):
    """Values by key; when it is full, the oldest entries make room. One thread at a time.

    `bytes_max` is held against the sizes that `put` is given, which are the caller's estimate: for
    what was parsed from JSON, the JSON's length. One value larger than a quarter of it is not kept.
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
        """The sizes of all entries together."""
        return self._bytes

    def get(self, key: bytes) -> _V | None:
        found = self._found.get(key)
        return None if found is None else found[0]

    def values(self) -> Iterator[_V]:
        """The values, in no order that means anything."""
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
