"""A `MemoryPartition` holds the records of one partition in memory.

A `MemoryWaiter` lets a consumer of a memory stream wait.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from rdv.clock import Clock
from rdv.stream.backend import NOTHING, WAKEUP_PRIORITIES
from rdv.stream.config import StreamConfig
from rdv.stream.errors import OffsetOutOfRange, RecordsLost
from rdv.stream.record import Block, Record, TopicPartition
from rdv.stream.times import AHEAD_MAX_NS, first_stretch

RETENTION_BYTES = 64 * 1024 * 1024
RECORD_BYTES = 32
"""The bytes that a record counts besides its value, as in the file log: so empty ones count,
too.
"""


class MemoryPartition:
    """A `MemoryPartition` holds the records of one partition, oldest first.

    Thread-safe; it is both the writer and the source of its readers.
    """

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
        self._stretches = [0]
        """The offsets where times may fall, like the start of a segment of a file log. The first is
        the beginning of the partition."""
        self._size_bytes = 0

    def append(self, values: Sequence[bytes], wait_ms: int | None = None) -> int:
        del wait_ms  # a lock in one process is held for microseconds
        topic, partition = self._place
        with self._mutex:
            records = self._records
            now_ns = self._clock.wall_ns()
            offset = self._begin + len(records)
            if records and records[-1].timestamp_ns - now_ns > AHEAD_MAX_NS:
                self._stretches.append(offset)
            elif records:
                now_ns = max(now_ns, records[-1].timestamp_ns)
            records.extend(
                Record(topic, partition, offset + n, now_ns, value)
                for n, value in enumerate(values)
            )
            self._size_bytes += sum(map(len, values)) + len(values) * RECORD_BYTES
            if self._size_bytes > self._limit_bytes:
                self._drop_oldest()
        self._announce(self._place)
        return offset

    def _drop_oldest(self) -> None:
        """Drop records down to three quarters of the limit, to do so rarely; one stays."""
        count = 0
        while self._size_bytes > self._limit_bytes * 3 // 4 and count < len(self._records) - 1:
            self._size_bytes -= len(self._records[count].value) + RECORD_BYTES
            count += 1
        del self._records[:count]
        self._begin += count
        self._stretches = [self._begin, *(n for n in self._stretches if n > self._begin)]

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
            records, begin = self._records, self._begin
            if not records:
                return begin
            firsts = [n - begin for n in self._stretches]
            times_ns = [records[n].timestamp_ns for n in firsts]
            first = first_stretch(times_ns, time_ns, self._clock.wall_ns())
            for low, high in pairwise([*firsts[first:], len(records)]):
                number = bisect_left(
                    records, time_ns, low, high, key=lambda record: record.timestamp_ns
                )
                if number < high:
                    return begin + number
            return self.end_unlocked()

    def newest_ns(self) -> int | None:
        with self._mutex:
            return self._records[-1].timestamp_ns if self._records else None

    def release(self) -> None:
        """Do nothing: there are no files to release."""

    def close(self) -> None:
        """Do nothing: the records stay for other users of the stream."""


class MemoryReader:
    """A `MemoryReader` is one consumer's view of a partition."""

    is_open = True
    is_drained = False

    def __init__(self, partition: MemoryPartition) -> None:
        self._partition = partition
        self._next = 0

    def has_more(self, offset: int) -> bool:
        return self._partition.end() > offset

    def read(self, offset: int, max_records: int, max_bytes: int) -> Block:
        self._next = offset
        records = self._partition.read(offset, max_records, max_bytes)
        return Block.of(records) if records else NOTHING

    def notice_deletion(self) -> None:
        """Do nothing: there are no files that could be deleted."""

    def skip_to(self) -> int:
        return self._next

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class MemoryWaiter:
    """A `MemoryWaiter` is an event for `poll`, and a socket pair once a descriptor is asked for."""

    def __init__(self, waiting: set[MemoryWaiter]) -> None:
        self._waiting = waiting
        self._mutex = threading.Lock()
        self._event = threading.Event()
        self._is_armed = False
        self.priority = WAKEUP_PRIORITIES[-1]
        """The consumer that is notified first also gets the interpreter
        first."""
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

    def arm(self, priority: int) -> None:
        with self._mutex:
            self.priority = priority
            self._event.clear()
            self._is_armed = True
            self._waiting.add(self)

    def notify(self, place: TopicPartition | None) -> None:
        """Notify the consumer; writers call this from any thread. None notifies in any case."""
        if place is not None and self._places is not None and place not in self._places:
            return
        with self._mutex:
            if self._is_armed:
                self._is_armed = False
                self._waiting.discard(self)
                self._send()

    def _send(self) -> None:
        self._event.set()
        if self._pair is not None:
            with contextlib.suppress(OSError):
                self._pair[1].send(b"\x01")

    def wake(self) -> None:
        self._send()

    def is_armed(self) -> bool:
        return self._is_armed

    def drain(self) -> None:
        if self._pair is not None:
            with contextlib.suppress(BlockingIOError):
                self._pair[0].recv(4096)

    def wait(self, timeout_s: float) -> None:
        self._event.wait(timeout_s)

    def close(self) -> None:
        with self._mutex:
            self._is_armed = False
            self._waiting.discard(self)
        for end in self._pair or ():
            end.close()
        self._pair = None
