"""These protocols are what a backend of our own provides; `stream.py` builds the rest on it.

`file` and `memory` implement this. A backend that brings its own producers, consumers and groups
(Kafka) implements the protocols in `protocol.py` directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from rdv.stream.config import StreamConfig
from rdv.stream.group.state import GroupState
from rdv.stream.record import Block, TopicPartition
from rdv.system.forks import Forkable

NOTHING = Block("", 0, (), (), (), b"")
"""The block that a reader returns when there are no new records and nothing else has changed, which
is the usual case."""

EMPTY = Block("", 0, (), (), (), b"")
"""The block that a reader returns when there are no readable new records, but it may have moved."""


WAKEUP_PRIORITIES = (1, 2, 3, 4)
"""The wake-up priorities: of readers that wait for the same records, those with a lower number are
notified sooner."""


News = Any
"""The type of `Backend.news`."""


class Writer(Protocol):
    """A `Writer` is the write side of one partition; thread-safe."""

    def append(self, values: Sequence[bytes], wait_ms: int | None = None) -> int:
        """Append a batch; returns the offset of its first value. See `LogProducer.send_many`."""

    def release(self) -> None:
        """Close the files; the next append opens them again."""

    def close(self) -> None: ...


class Reader(Protocol):
    """A `Reader` is the read side of one partition; one thread at a time."""

    @property
    def is_open(self) -> bool: ...

    @property
    def is_drained(self) -> bool:
        """Return whether the last read reached the end of the records; true is reliable."""

    def has_more(self, offset: int) -> bool:
        """Return whether a read may find records; cheap, and a false answer is reliable."""

    def read(self, offset: int, max_records: int, max_bytes: int) -> Block:
        """Return the next records; without any NOTHING if the position stays, else EMPTY."""

    def notice_deletion(self) -> None:
        """Reopen after an empty read, if the open file has been deleted, truncated or replaced.

        Readers of deleted files would otherwise wait in them for ever.
        """

    def skip_to(self) -> int:
        """Return the offset after an empty read; offsets given up by a repair are skipped."""

    def close(self) -> None: ...


class Waiter(Protocol):
    """A `Waiter` is how one consumer waits; one thread at a time."""

    def fileno(self) -> int: ...
    def listen_to(self, places: Iterable[TopicPartition] | None) -> None:
        """Set which partitions notify this consumer; None means all of the stream."""

    def arm(self, priority: int) -> None:
        """Register as waiting with one of WAKEUP_PRIORITIES.

        The caller must look once more before it blocks.
        """

    def is_armed(self) -> bool:
        """Return whether no notification has come since `arm`."""

    def drain(self) -> None:
        """Drain the notifications so far."""

    def wake(self) -> None:
        """Notify this consumer itself."""

    def wait(self, timeout_s: float) -> None:
        """Block until notified, at most `timeout_s`; may return early."""

    def close(self) -> None: ...


class Lease(Protocol):
    """A `Lease` shows that a group member lives: it ends with the process, or expires."""

    def beat(self, now_ns: int) -> None: ...
    def close(self) -> None: ...


class GroupStore(Protocol):
    """A `GroupStore` is the shared state of one consumer group; thread-safe."""

    name: str

    def load(self) -> GroupState: ...

    def update(self, change: Callable[[GroupState], GroupState]) -> GroupState:
        """Replace the state atomically by `change` of it; a change notifies all consumers."""

    def lease(self, member: str) -> Lease: ...

    def absent(self, members: Iterable[str], now_ns: int, timeout_ns: int) -> set[str]:
        """Return the members among these that are dead, or sent no heartbeat for `timeout_ns`."""

    def commit(self, member: str, offsets: Mapping[TopicPartition, tuple[int, int]]) -> None:
        """Store (offset, since) per partition, all or none. Raises Fenced."""

    def committed(self) -> dict[TopicPartition, int]: ...

    def committed_at(self, place: TopicPartition) -> int | None: ...

    def set_committed(self, place: TopicPartition, offset: int | None) -> None:
        """Set an offset on an operator's command; None forgets the offset."""

    def close(self) -> None: ...


class Backend(Protocol):
    """A `Backend` stores one stream."""

    address: str
    config: StreamConfig

    version: Callable[[], object]
    """A value that differs after topics, partitions or groups have changed; very cheap to read."""

    news: Callable[[], News]
    """A value that differs after a commit, too: while it is the same, there are no new records. (A
    commit whose process was killed at once may not change it, so look periodically all the same.)
    """

    def tick_of(self, place: TopicPartition) -> slice | None:
        """Return the slice of `news` that differs after a commit to this partition.

        Returns None where `news` covers the stream as a whole.
        """

    def look_after(self) -> None:
        """Maintain what waiting needs; readers call it periodically. Raises nothing."""

    def topics(self) -> list[str]: ...
    def partitions(self, topic: str) -> int:
        """Return the number of partitions; 0 when there is no such topic."""

    def incarnation(self, topic: str) -> object:
        """Return a value that differs when the topic has been deleted and made again."""

    def make_topic(self, topic: str, partitions: int) -> None:
        """Make a topic, or give it more partitions; does nothing when it has as many."""

    def delete_topic(self, topic: str) -> None: ...
    def writer(self, place: TopicPartition, opened: Callable[[Writer], None]) -> Writer: ...
    def make_readable(self, place: TopicPartition, *, may_wait: bool) -> bool:
        """Recover the partition if needed; called before `reader`.

        The first process after a start of the machine may have to do so. Returns False when another
        process holds the partition's lock, and `may_wait` is false; else this raises LockTimeout.
        """

    def reader(self, place: TopicPartition) -> Reader: ...
    def waiter(self) -> Waiter: ...
    def begin(self, place: TopicPartition) -> int: ...
    def end(self, place: TopicPartition) -> int: ...
    def offset_at(self, place: TopicPartition, time_ns: int) -> int: ...
    def newest_ns(self, place: TopicPartition) -> int | None:
        """Return when the last readable record was appended; None without one."""

    def groups(self) -> list[str]: ...
    def group(self, name: str) -> GroupStore: ...
    def delete_group(self, name: str) -> None: ...
    def new_member_name(self) -> str: ...
    def watch_forks(self, thing: Forkable) -> None:
        """Have `thing.after_fork` called in children of this process."""

    def close(self) -> None: ...
