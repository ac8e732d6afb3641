"""These protocols are the log's public interface, which every backend keeps, even a broker.

Nothing is promised that a broker cannot promise: there is no order between topics or partitions,
and an acknowledgement may come later than the send (`send_nowait`). What needs a stream in files is
in `rdv.stream.files`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, Self

from rdv.errors import RdvError
from rdv.stream.config import StreamConfig
from rdv.stream.group.member import GroupTiming
from rdv.stream.group.state import GroupState
from rdv.stream.record import Block, Record, TopicPartition
from rdv.stream.start import Start


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

    wakeup_priority: int
    """Of consumers that wait for the same records, those with a lower number are notified sooner
    (`WAKEUP_PRIORITIES`). A broker may ignore it."""

    @property
    def member_id(self) -> str:
        """Return the member's name in its group. Raises NoGroup."""

    def poll(self, max_records: int = 500, timeout: float = 0.0) -> list[Record]:
        """Return records in their partition's order, or none after `timeout` seconds."""

    def look(self, max_records: int = 500) -> list[Record]:
        """Return the records that exist now, without asking for a wake-up."""

    def look_blocks(self, max_records: int = 500) -> list[Block]:
        """Return what `look` returns, as blocks: one for each read of a partition."""

    def poll_blocks(self, max_records: int, *, is_notified: bool) -> list[Block]:
        """Return the records that exist now; if there are none, ask for a wake-up of `fileno`.

        `is_notified` says whether the descriptor was readable since the last call.
        """

    def drain_wakeups(self) -> None:
        """Drain the wake-ups of `fileno`, for callers that `look` after one."""

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
    def end(self, topic: str, partition: int = 0) -> int:
        """Return the offset that the next record will get.

        It is a snapshot: all records before it can be read, and later ones come at or after it.
        """

    def offset_at(self, topic: str, partition: int, time_ns: int) -> int:
        """Return the first offset appended at or after `time_ns` since 1970, or the end."""

    def newest_ns(self, topic: str, partition: int = 0) -> int | None:
        """Return when the last record was appended; None without one."""

    def groups(self) -> list[str]: ...
    def group_state(self, group: str) -> GroupState: ...
    def absent_members(self, group: str, timing: GroupTiming | None = None) -> set[str]: ...
    def set_committed(self, group: str, topic: str, partition: int, offset: int | None) -> None: ...
    def delete_group(self, group: str) -> None: ...
    def committed(self, group: str) -> dict[TopicPartition, int]: ...
    def lag(self, group: str) -> dict[TopicPartition, int]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
