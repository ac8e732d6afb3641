"""A `LogProducer` sends records, for every backend that is built on `backend.py`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rdv.errors import ConflictFault, RdvError, SystemFault
from rdv.stream.address import check_name
from rdv.stream.backend import Backend, Writer
from rdv.stream.errors import (
    Closed,
    InvalidArgument,
    PartitionNotFound,
    RecordTooLarge,
    TopicNotFound,
    WouldWait,
)
from rdv.stream.record import TopicPartition, partition_of_key

Acknowledge = Callable[[int, int, RdvError | None], None]
"""The callback of an acknowledgement, (partition, offset, error): the offset is -1 with an
error.
"""


class _Writers(NamedTuple):
    """A `_Writers` holds the writers of a topic, and the stream's state they belong to."""

    version: object
    incarnation: object
    writers: list[Writer]


class LogProducer:
    """A `LogProducer` appends records to a stream's topics.

    Thread-safe; open one per process and keep it open. A topic is made on first use. After a fork
    the child may continue to use it.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._mutex = threading.Lock()
        self._writers: dict[str, _Writers] = {}
        self._open: dict[Writer, None] = {}
        self._turn = 0
        self._is_closed = False
        self._record_bytes_max = backend.config.record_bytes_max
        backend.watch_forks(self)

    def after_fork(self) -> None:
        """Renew the mutex; see `Forkable`."""
        self._mutex = threading.Lock()

    def send(
        self, topic: str, value: bytes, *, key: bytes | None = None, partition: int | None = None
    ) -> tuple[int, int]:
        """Append one value; returns (partition, offset) once it is committed.

        `partition` takes precedence over `key`; a key always goes to the same partition and is not
        stored; with neither, partitions take turns. Raises InvalidName, PartitionNotFound,
        RecordTooLarge, Closed, DiskFull, SyncFailed, LockTimeout and other SystemFaults; after one
        of the last four kinds the record may be committed all the same: sending it again means at
        least once.
        """
        writers = self._writers_of(topic)
        if partition is None:
            partition = self._choose(key, len(writers))
        elif not 0 <= partition < len(writers):
            raise PartitionNotFound(topic, partition, len(writers))
        if type(value) is not bytes:
            value = _as_bytes(value)
        if len(value) > self._record_bytes_max:
            raise RecordTooLarge(len(value), self._record_bytes_max)
        try:
            return partition, writers[partition].append((value,))
        except TopicNotFound:
            # Its directory was deleted by other means than rdv.
            return partition, self._refresh(topic)[partition].append((value,))

    def send_many(
        self,
        topic: str,
        values: Sequence[bytes],
        *,
        key: bytes | None = None,
        partition: int | None = None,
        wait_ms: int | None = None,
    ) -> tuple[int, int]:
        """Append a batch to one partition: one lock and two writes, for any number of values.

        Returns (partition, offset of the first); the rest follow without a gap. All of them are
        committed when it returns; when it raises, a leading part may be. `wait_ms` is how long to
        wait for a partition whose lock another process holds: None means the stream's
        `lock_timeout_ms`. With 0 the call takes no longer than a write: WouldWait is raised where
        there is more to do first (a lock, a topic or files to be made, a segment to be sealed).
        Raises as `send` does, and RecordTooLarge for a batch beyond the limit.
        """
        writers = self._writers_of(topic, may_make=wait_ms != 0)
        if partition is None:
            partition = self._choose(key, len(writers))
        elif not 0 <= partition < len(writers):
            raise PartitionNotFound(topic, partition, len(writers))
        if not values:
            return partition, self._backend.end(TopicPartition(topic, partition))
        values = [value if type(value) is bytes else _as_bytes(value) for value in values]
        sizes = list(map(len, values))
        if max(sizes) > self._record_bytes_max:
            raise RecordTooLarge(max(sizes), self._record_bytes_max)
        if sum(sizes) > self._backend.config.batch_bytes_max:
            raise RecordTooLarge(sum(sizes), self._backend.config.batch_bytes_max, "batch")
        try:
            return partition, writers[partition].append(values, wait_ms)
        except TopicNotFound:
            # Its directory was deleted by other means than rdv.
            return partition, self._refresh(topic)[partition].append(values, wait_ms)

    def send_nowait(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        on_ack: Acknowledge | None = None,
    ) -> None:
        """Send; the acknowledgement goes to `on_ack(partition, offset, error)`.

        On a broker it comes later, from `flush` or a later send; on a log of our own, before this
        returns. A misuse (a bad name, a record too large) is raised at once.
        """
        try:
            where, offset = self.send(topic, value, key=key, partition=partition)
        except (SystemFault, ConflictFault) as error:
            if on_ack is None:
                raise
            on_ack(-1 if partition is None else partition, -1, error)
        else:
            if on_ack is not None:
                on_ack(where, offset, None)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything from `send_nowait` is acknowledged: at once on a log of our own."""

    def partition_for(self, topic: str, key: bytes) -> int:
        """Return the partition that `key` goes to; it changes only when partitions are added."""
        return partition_of_key(key, len(self._writers_of(topic)))

    def _choose(self, key: bytes | None, partitions: int) -> int:
        if key is not None:
            return partition_of_key(key, partitions)
        if partitions == 1:
            return 0
        self._turn = turn = (self._turn + 1) % partitions
        return turn

    def _writers_of(self, topic: str, *, may_make: bool = True) -> list[Writer]:
        known = self._writers.get(topic)
        if known is None or known.version != self._backend.version():
            return self._refresh(topic, may_make=may_make)
        return known.writers

    def _refresh(self, topic: str, *, may_make: bool = True) -> list[Writer]:
        """Look the topic up anew: it is unknown, or the stream has changed."""
        backend = self._backend
        if not self._is_closed and not backend.partitions(check_name(topic, "topic")):
            if not may_make:
                raise WouldWait(f"{backend.address}/{topic}", "the topic is to be made first")
            backend.make_topic(topic, backend.config.partitions)
        with self._mutex:
            if self._is_closed:
                raise Closed("producer")
            version, incarnation = backend.version(), backend.incarnation(topic)
            known = self._writers.get(topic)
            kept = known.writers if known is not None and known.incarnation == incarnation else []
            more = range(len(kept), backend.partitions(topic))
            # A new list: senders in other threads keep the one that they have.
            writers = [
                *kept,
                *(backend.writer(TopicPartition(topic, n), self._opened) for n in more),
            ]
            if not writers:
                raise TopicNotFound(backend.address, topic)  # deleted in this very moment
            self._writers[topic] = _Writers(version, incarnation, writers)
            # Writers of a deleted topic write into files that no reader sees.
            gone = [] if known is None or kept else known.writers
        for writer in gone:
            writer.close()
        return writers

    def _opened(self, writer: Writer) -> None:
        """Keep no more partitions open than allowed: release the one opened longest ago."""
        with self._mutex:
            self._open.pop(writer, None)
            self._open[writer] = None
            surplus = list(self._open)[: -self._backend.config.open_partitions_max]
            for old in surplus:
                del self._open[old]
        for old in surplus:
            old.release()

    def close(self) -> None:
        """Sync if the policy says so, and close. Raises SyncFailed; closing twice is no error."""
        with self._mutex:
            if self._is_closed:
                return
            self._is_closed = True
            writers = [writer for known in self._writers.values() for writer in known.writers]
            self._writers, self._open = {}, {}
        failed: RdvError | None = None
        for writer in writers:
            try:
                writer.close()
            except RdvError as error:
                failed = error
        if failed is not None:
            raise failed

    def __enter__(self) -> LogProducer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _as_bytes(value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise InvalidArgument("value", value, f"a record is bytes, not {type(value).__name__}")
