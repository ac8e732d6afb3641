"""These protocols are the log's public interface, which every backend keeps, even a broker.

Nothing is promised that a broker cannot promise: there is no order between topics or partitions,
and an acknowledgement may come later than the send (`send_nowait`). Optional abilities are
protocols of their own; ask with `isinstance(stream, Verifiable)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from rdv.errors import RdvError
from rdv.stream.config import StreamConfig
from rdv.stream.group.member import GroupTiming
from rdv.stream.record import Record, TopicPartition
from rdv.stream.start import Start

if TYPE_CHECKING:
    import pyarrow as pa

    from rdv.stream.file.repair import Repair
    from rdv.stream.file.verify import SegmentReport


class Producer(Protocol):
    """A `Producer` appends records. Thread-safe."""

    def send(
        self, topic: str, value: bytes, *, key: bytes | None = None, partition: int | None = None
    ) -> tuple[int, int]:
        """Append one value and wait for the acknowledgement; returns (partition, offset)."""

    def send_many(
        self,
        topic: str,
        values: Sequence[bytes],
        *,
        key: bytes | None = None,
        partition: int | None = None,
        wait_ms: int | None = None,
    ) -> tuple[int, int]:
        """Append a batch to one partition; returns (partition, offset of the first).

        `wait_ms` is how long to wait for another writer (None: as the stream's settings say).
        """

    def send_nowait(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        on_ack: Callable[[int, int, RdvError | None], None] | None = None,
    ) -> None:
        """Send; `on_ack(partition, offset, error)` is called when the outcome is known."""

    def flush(self, timeout: float | None = None) -> None:
        """Wait for all outstanding acknowledgements."""

    def partition_for(self, topic: str, key: bytes) -> int:
        """Return the partition that `key` goes to now."""

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


class Consumer(Protocol):
    """A `Consumer` reads records. One thread at a time."""

    def poll(self, max_records: int = 500, timeout: float = 0.0) -> list[Record]:
        """Return records in their partition's order, or none after `timeout` seconds."""

    def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        """Commit the next offsets to read, for the group. Raises Fenced."""

    def heartbeat(self) -> None: ...
    def seek(self, topic: str, partition: int, offset: int) -> None: ...
    def seek_to(self, start: Start) -> None: ...
    def positions(self) -> dict[TopicPartition, int]: ...
    def lag(self) -> dict[TopicPartition, int]: ...
    def assignment(self) -> list[TopicPartition]: ...
    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there may be records."""

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


class Stream(Protocol):
    """A `Stream` is a directory of topics. Thread-safe."""

    @property
    def address(self) -> str: ...
    @property
    def config(self) -> StreamConfig: ...
    def producer(self) -> Producer: ...
    def consumer(
        self,
        topics: Iterable[str] | None = None,
        *,
        group: str | None = None,
        start: Start = "earliest",
        partitions: Iterable[int] | None = None,
        timing: GroupTiming | None = None,
        on_assign: Callable[[list[TopicPartition]], None] | None = None,
        on_revoke: Callable[[list[TopicPartition]], None] | None = None,
    ) -> Consumer:
        """Open a consumer of `topics` (None: all, including those made later)."""

    def topics(self) -> list[str]: ...
    def partitions(self, topic: str) -> int: ...
    def make_topic(self, topic: str, partitions: int | None = None) -> None: ...
    def delete_topic(self, topic: str) -> None: ...
    def begin(self, topic: str, partition: int = 0) -> int: ...
    def end(self, topic: str, partition: int = 0) -> int: ...
    def offset_at(self, topic: str, partition: int, time_ns: int) -> int: ...
    def groups(self) -> list[str]: ...
    def committed(self, group: str) -> dict[TopicPartition, int]: ...
    def lag(self, group: str) -> dict[TopicPartition, int]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


@runtime_checkable
class ArrowReadable(Protocol):
    """An `ArrowReadable` stream returns ranges of values as Arrow arrays without copying them."""

    def read_arrow(
        self, topic: str, partition: int = 0, start: int | None = None, stop: int | None = None
    ) -> pa.ChunkedArray[Any]: ...


@runtime_checkable
class Verifiable(Protocol):
    """A `Verifiable` stream has bytes on disk that can be checked and repaired."""

    def verify(self, topic: str, partition: int) -> Iterator[SegmentReport]: ...
    def repair(self, topic: str, partition: int) -> list[Repair]: ...


@runtime_checkable
class Purgeable(Protocol):
    """A `Purgeable` stream can delete its oldest records on request."""

    def purge(
        self, topic: str, partition: int, *, before_offset: int | None = None
    ) -> tuple[int, int]:
        """Apply retention, and delete whole segments below an offset; returns (records, bytes)."""
