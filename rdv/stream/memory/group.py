"""A `MemoryGroup` is a consumer group in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from rdv.stream.backend import Lease
from rdv.stream.errors import Fenced
from rdv.stream.group.state import GroupState
from rdv.stream.record import TopicPartition


class MemoryLease:
    """A `MemoryLease` holds a member's last heartbeat; it is gone when closed."""

    def __init__(self, beats: dict[str, int], member: str) -> None:
        self._beats = beats
        self._member = member

    def beat(self, now_ns: int) -> None:
        self._beats[self._member] = now_ns

    def close(self) -> None:
        self._beats.pop(self._member, None)


class MemoryGroup:
    """A `MemoryGroup` holds the state of one consumer group. Thread-safe."""

    def __init__(self, name: str, changed: Callable[[], None]) -> None:
        self.name = name
        self._changed = changed
        self._mutex = threading.Lock()
        self._state = GroupState()
        self._beats: dict[str, int] = {}
        self._offsets: dict[TopicPartition, int] = {}

    @property
    def is_used(self) -> bool:
        """Return whether it ever had a member or a committed offset; asking makes no group."""
        return bool(self._state.generation or self._offsets)

    def load(self) -> GroupState:
        return self._state

    def update(self, change: Callable[[GroupState], GroupState]) -> GroupState:
        with self._mutex:
            before = self._state
            after = self._state = change(before)
        if after is not before:
            self._changed()
        return after

    def lease(self, member: str) -> Lease:
        return MemoryLease(self._beats, member)

    def absent(self, members: Iterable[str], now_ns: int, timeout_ns: int) -> set[str]:
        beats = self._beats
        return {m for m in members if m not in beats or now_ns - beats[m] > timeout_ns}

    def commit(self, member: str, offsets: Mapping[TopicPartition, tuple[int, int]]) -> None:
        with self._mutex:
            for place, (_, since) in offsets.items():
                held = self._state.owner_of(place)
                if held is None or held.owner != member or held.since != since:
                    raise Fenced(self.name, member, *place, self._state.generation)
            self._offsets.update({place: offset for place, (offset, _) in offsets.items()})

    def committed(self) -> dict[TopicPartition, int]:
        with self._mutex:
            return dict(sorted(self._offsets.items()))

    def committed_at(self, place: TopicPartition) -> int | None:
        return self._offsets.get(place)

    def set_committed(self, place: TopicPartition, offset: int | None) -> None:
        with self._mutex:
            self._offsets.pop(place, None)
            if offset is not None:
                self._offsets[place] = offset

    def close(self) -> None:
        """Do nothing: the group lives as long as its stream."""
