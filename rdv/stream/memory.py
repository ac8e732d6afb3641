"""A stream that lives in this process: for tests, and for a decision in one process.

The same contract as the file log, minus durability. It keeps at most `retention_bytes` per
partition (64 MiB unless told otherwise), since nothing may grow without a bound.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from rdv.clock import Clock
from rdv.stream.address import check_name
from rdv.stream.backend import Lease, Writer
from rdv.stream.config import PARTITIONS_MAX, StreamConfig
from rdv.stream.errors import (
    Fenced,
    InvalidArgument,
    OffsetOutOfRange,
    PartitionsShrink,
    RecordsLost,
    TopicNotFound,
)
from rdv.stream.group.state import GroupState
from rdv.stream.record import Record, TopicPartition

RETENTION_BYTES = 64 * 1024 * 1024


class MemoryPartition:
    """The records of one partition, oldest first. Thread-safe; writer and reader side in one."""

    def __init__(
        self,
        place: TopicPartition,
        config: StreamConfig,
        clock: Clock,
        announce: Callable[[TopicPartition], None],
    ) -> None:
        self._place = place
        self._limit_bytes = config.retention_bytes or RETENTION_BYTES
        self._clock = clock
        self._announce = announce
        self._mutex = threading.Lock()
        self._records: list[Record] = []
        self._begin = 0
        self._size_bytes = 0

    def append(self, values: Sequence[bytes]) -> int:
        topic, partition = self._place
        with self._mutex:
            records = self._records
            now_ns = self._clock.wall_ns()
            if records:
                now_ns = max(now_ns, records[-1].timestamp_ns)
            offset = self._begin + len(records)
            records.extend(
                Record(topic, partition, offset + n, now_ns, value)
                for n, value in enumerate(values)
            )
            self._size_bytes += sum(map(len, values))
            if self._size_bytes > self._limit_bytes:
                self._drop_oldest()
        self._announce(self._place)
        return offset

    def _drop_oldest(self) -> None:
        """Down to three quarters of the limit, so that dropping is rare; one record stays."""
        count = 0
        while self._size_bytes > self._limit_bytes * 3 // 4 and count < len(self._records) - 1:
            self._size_bytes -= len(self._records[count].value)
            count += 1
        del self._records[:count]
        self._begin += count

    def read(self, offset: int, max_records: int, max_bytes: int) -> list[Record]:
        with self._mutex:
            if offset < self._begin:
                raise RecordsLost(*self._place, offset, self._begin - 1)
            if offset > self._begin + len(self._records):
                raise OffsetOutOfRange(*self._place, offset, self._begin, self.end_unlocked())
            first = offset - self._begin
            records = self._records[first : first + max_records]
        total = 0
        for count, record in enumerate(records):
            total += len(record.value)
            if total > max_bytes and count:
                return records[:count]
        return records

    def end_unlocked(self) -> int:
        return self._begin + len(self._records)

    def begin(self) -> int:
        return self._begin

    def end(self) -> int:
        with self._mutex:
            return self.end_unlocked()

    def offset_at(self, time_ns: int) -> int:
        with self._mutex:
            number = bisect_left(self._records, time_ns, key=lambda record: record.timestamp_ns)
            return self._begin + number

    def release(self) -> None:
        """There are no files to give up."""

    def close(self) -> None:
        """There is nothing to close: the records stay for others."""


class MemoryReader:
    """One consumer's view of a partition."""

    is_open = True

    def __init__(self, partition: MemoryPartition) -> None:
        self._partition = partition
        self._next = 0

    def has_more(self, offset: int) -> bool:
        return self._partition.end() > offset

    def read(self, offset: int, max_records: int, max_bytes: int) -> list[Record]:
        self._next = offset
        return self._partition.read(offset, max_records, max_bytes)

    def skip_to(self) -> int:
        return self._next

    def close(self) -> None:
        """There is nothing to close."""


class MemoryBell:
    """A consumer's bell: an event for `poll`, and a socket pair once somebody wants a descriptor."""

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend
        self._event = threading.Event()
        self._is_armed = False
        self._places: frozenset[TopicPartition] | None = None
        self._pair: tuple[socket.socket, socket.socket] | None = None

    def fileno(self) -> int:
        if self._pair is None:
            self._pair = socket.socketpair()
            for end in self._pair:
                end.setblocking(False)
        return self._pair[0].fileno()

    def listen_to(self, places: Iterable[TopicPartition] | None) -> None:
        self._places = None if places is None else frozenset(places)

    def arm(self) -> None:
        self._event.clear()
        self._is_armed = True
        self._backend.bells.add(self)

    def ring(self, place: TopicPartition | None) -> None:
        """Called by writers, from any thread; None rings everybody."""
        if self._is_armed and (place is None or self._places is None or place in self._places):
            self._is_armed = False
            self._backend.bells.discard(self)
            self._event.set()
            if self._pair is not None:
                with contextlib.suppress(OSError):
                    self._pair[1].send(b"\x01")

    def wake(self) -> None:
        self._is_armed = True
        self.ring(None)

    def quiet(self) -> None:
        if self._pair is not None and self._event.is_set():
            self._event.clear()
            with contextlib.suppress(BlockingIOError):
                self._pair[0].recv(4096)

    def wait(self, timeout_s: float) -> None:
        self._event.wait(timeout_s)

    def close(self) -> None:
        self._is_armed = False
        self._backend.bells.discard(self)
        for end in self._pair or ():
            end.close()
        self._pair = None


class MemoryLease:
    """A member's beat; it is gone when closed."""

    def __init__(self, beats: dict[str, int], member: str) -> None:
        self._beats = beats
        self._member = member

    def beat(self, now_ns: int) -> None:
        self._beats[self._member] = now_ns

    def close(self) -> None:
        self._beats.pop(self._member, None)


class MemoryGroup:
    """The state of one consumer group. Thread-safe."""

    def __init__(self, name: str, changed: Callable[[], None]) -> None:
        self.name = name
        self._changed = changed
        self._mutex = threading.Lock()
        self._state = GroupState()
        self._beats: dict[str, int] = {}
        self._offsets: dict[TopicPartition, int] = {}

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
        """The group lives as long as its stream."""


class MemoryBackend:
    """One named stream of this process; everybody who opens the name gets the same. Thread-safe."""

    def __init__(self, address: str, config: StreamConfig, clock: Clock) -> None:
        self.address = address
        self.config = config
        self.bells: set[MemoryBell] = set()
        self.version: Callable[[], object] = lambda: self._version
        self._version = 0
        self._clock = clock
        self._mutex = threading.Lock()
        self._topics: dict[str, list[MemoryPartition]] = {}
        self._groups: dict[str, MemoryGroup] = {}
        self._names = itertools.count(1)

    def _change(self) -> None:
        self._version += 1
        self._ring(None)

    def _ring(self, place: TopicPartition | None) -> None:
        if self.bells:
            for bell in list(self.bells):
                bell.ring(place)

    def topics(self) -> list[str]:
        return sorted(self._topics)

    def partitions(self, topic: str) -> int:
        return len(self._topics.get(check_name(topic, "topic"), ()))

    def make_topic(self, topic: str, partitions: int) -> None:
        check_name(topic, "topic")
        if not 1 <= partitions <= PARTITIONS_MAX:
            raise InvalidArgument("partitions", partitions, f"not between 1 and {PARTITIONS_MAX}")
        with self._mutex:
            have = self._topics.get(topic, [])
            if len(have) > partitions:
                raise PartitionsShrink(topic, len(have), partitions)
            places = [TopicPartition(topic, n) for n in range(len(have), partitions)]
            more = [MemoryPartition(p, self.config, self._clock, self._ring) for p in places]
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

    def reader(self, place: TopicPartition) -> MemoryReader:
        return MemoryReader(self._partition(place))

    def bell(self) -> MemoryBell:
        return MemoryBell(self)

    def begin(self, place: TopicPartition) -> int:
        return self._partition(place).begin()

    def end(self, place: TopicPartition) -> int:
        return self._partition(place).end()

    def offset_at(self, place: TopicPartition, time_ns: int) -> int:
        return self._partition(place).offset_at(time_ns)

    def groups(self) -> list[str]:
        return sorted(self._groups)

    def group(self, name: str) -> MemoryGroup:
        check_name(name, "group")
        with self._mutex:
            return self._groups.setdefault(name, MemoryGroup(name, self._change))

    def delete_group(self, name: str) -> None:
        with self._mutex:
            self._groups.pop(name, None)
        self._change()

    def new_member_name(self) -> str:
        return f"member-{next(self._names)}"

    def close(self) -> None:
        """The stream stays until `forget`."""


_streams: dict[str, MemoryBackend] = {}
_streams_mutex = threading.Lock()


def memory_backend(name: str, config: StreamConfig | None, clock: Clock) -> MemoryBackend:
    """The stream of this name, made on first use (then with `config`)."""
    with _streams_mutex:
        if name not in _streams:
            config = config or StreamConfig()
            config = replace(config, retention_bytes=config.retention_bytes or RETENTION_BYTES)
            _streams[name] = MemoryBackend(f"memory:{name}", config, clock)
        return _streams[name]


def has_memory_stream(name: str) -> bool:
    return name in _streams


def forget(name: str) -> None:
    """Drop a stream and its records; who has it open keeps it."""
    with _streams_mutex:
        _streams.pop(name, None)
