"""The module keeps the named streams of this process.

A `MemoryGroup` is a consumer group in memory.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from operator import attrgetter

from rdv.clock import Clock
from rdv.stream.address import check_name
from rdv.stream.backend import Lease, Writer
from rdv.stream.config import PARTITIONS_MAX, StreamConfig
from rdv.stream.errors import Fenced, InvalidArgument, PartitionsShrink, TopicNotFound
from rdv.stream.group.state import GroupState
from rdv.stream.memory.partition import RETENTION_BYTES, MemoryPartition, MemoryReader, MemoryWaiter
from rdv.stream.record import TopicPartition
from rdv.system.forks import Forkable


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


_priority: Callable[[MemoryWaiter], int] = attrgetter("priority")


class MemoryBackend:
    """A `MemoryBackend` is one named stream of this process, shared by all callers of its name.

    Thread-safe.
    """

    def __init__(self, address: str, config: StreamConfig, clock: Clock) -> None:
        self.address = address
        self.config = config
        self.waiters: set[MemoryWaiter] = set()
        self.version: Callable[[], object] = lambda: self._version
        self.news: Callable[[], object] = object  # always another: a look is very cheap
        self._versions = itertools.count(1)
        self._version = 0
        self._clock = clock
        self._mutex = threading.Lock()
        self._topics: dict[str, list[MemoryPartition]] = {}
        self._groups: dict[str, MemoryGroup] = {}
        self._names = itertools.count(1)

    def _change(self) -> None:
        self._version = next(self._versions)
        self._notify(None)

    def _notify(self, place: TopicPartition | None) -> None:
        if self.waiters:
            for waiter in sorted(self.waiters, key=_priority):
                waiter.notify(place)

    def tick_of(self, place: TopicPartition) -> None:  # noqa: ARG002
        return None

    def look_after(self) -> None:
        """Do nothing: there are no files to check."""

    def topics(self) -> list[str]:
        return sorted(self._topics)

    def partitions(self, topic: str) -> int:
        return len(self._topics.get(check_name(topic, "topic"), ()))

    def incarnation(self, topic: str) -> object:
        """Return the first partition itself: a topic that is made again has another one."""
        return self._topics.get(check_name(topic, "topic"), [None])[0]

    def make_topic(self, topic: str, partitions: int) -> None:
        check_name(topic, "topic")
        if not 1 <= partitions <= PARTITIONS_MAX:
            raise InvalidArgument("partitions", partitions, f"not between 1 and {PARTITIONS_MAX}")
        with self._mutex:
            have = self._topics.get(topic, [])
            if len(have) > partitions:
                raise PartitionsShrink(topic, len(have), partitions)
            places = [TopicPartition(topic, n) for n in range(len(have), partitions)]
            more = [MemoryPartition(p, self.config, self._clock, self._notify) for p in places]
            self._topics[topic] = [*have, *more]
        if more:
            self._change()

    def delete_topic(self, topic: str) -> None:
        with self._mutex:
            if self._topics.pop(topic, None) is None:
                raise TopicNotFound(self.address, topic)
        for group in self._groups.values():
            for place in group.committed():
                if place.topic == topic:
                    group.set_committed(place, None)
        self._change()

    def _partition(self, place: TopicPartition) -> MemoryPartition:
        try:
            return self._topics[place.topic][place.partition]
        except (KeyError, IndexError):
            raise TopicNotFound(self.address, place.topic) from None

    def writer(self, place: TopicPartition, opened: Callable[[Writer], None]) -> MemoryPartition:
        del opened  # there are no files to keep count of
        return self._partition(place)

    def make_readable(self, place: TopicPartition, *, may_wait: bool) -> bool:
        del place, may_wait
        return True

    def reader(self, place: TopicPartition) -> MemoryReader:
        return MemoryReader(self._partition(place))

    def waiter(self) -> MemoryWaiter:
        return MemoryWaiter(self.waiters)

    def begin(self, place: TopicPartition) -> int:
        return self._partition(place).begin()

    def end(self, place: TopicPartition) -> int:
        return self._partition(place).end()

    def offset_at(self, place: TopicPartition, time_ns: int) -> int:
        return self._partition(place).offset_at(time_ns)

    def newest_ns(self, place: TopicPartition) -> int | None:
        return self._partition(place).newest_ns()

    def groups(self) -> list[str]:
        return sorted(name for name, group in self._groups.items() if group.is_used)

    def group(self, name: str) -> MemoryGroup:
        check_name(name, "group")
        with self._mutex:
            return self._groups.setdefault(name, MemoryGroup(name, self._change))

    def delete_group(self, name: str) -> None:
        with self._mutex:
            self._groups.pop(name, None)
        self._change()

    def watch_forks(self, thing: Forkable) -> None:
        """Do nothing: a child has a copy of the stream, and shares nothing with its parent."""

    def new_member_name(self) -> str:
        return f"member-{next(self._names)}"

    def close(self) -> None:
        """Do nothing: the stream stays until `forget`."""


_streams: dict[str, MemoryBackend] = {}
_streams_mutex = threading.Lock()


def memory_backend(name: str, config: StreamConfig | None, clock: Clock) -> MemoryBackend:
    """Return the stream of this name, made on first use (then with `config`)."""
    with _streams_mutex:
        if name not in _streams:
            config = config or StreamConfig()
            config = replace(config, retention_bytes=config.retention_bytes or RETENTION_BYTES)
            _streams[name] = MemoryBackend(f"memory:{name}", config, clock)
        return _streams[name]


def has_memory_stream(name: str) -> bool:
    return name in _streams


def forget(name: str) -> None:
    """Drop a stream and its records; callers that have it open keep it."""
    with _streams_mutex:
        _streams.pop(name, None)
