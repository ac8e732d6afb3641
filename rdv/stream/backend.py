"""What a home of our own for the log has to provide; `stream.py` builds the rest on it.

`file` and `memory` implement this. A backend that brings its own producers, consumers and groups
(Kafka) implements the protocols in `protocol.py` directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from rdv.stream.config import StreamConfig
from rdv.stream.group.state import GroupState
from rdv.stream.record import Block, TopicPartition

NOTHING = Block("", 0, (), (), (), b"")
"""What a reader returns when nothing has come, and nothing else has changed: the usual case."""

EMPTY = Block("", 0, (), (), (), b"")
"""What a reader returns when nothing has come that could be handed out, but it may have moved."""


RING_ORDERS = (1, 2, 3, 4)
"""Of those who wait for the same records, who has a lower number is rung sooner."""


News = Any
"""See `Backend.news`."""


class Writer(Protocol):
    """The write side of one partition; thread-safe."""

    def append(self, values: Sequence[bytes], wait_ms: int | None = None) -> int:
        """Append a batch; returns the offset of its first value. See `LogProducer.send_many`."""

    def release(self) -> None:
        """Give up files; the next append takes them again."""

    def close(self) -> None: ...


class Reader(Protocol):
    """The read side of one partition; one thread at a time."""

    @property
    def is_open(self) -> bool: ...

    @property
    def is_drained(self) -> bool:
        """Whether the last read went to the very end of what was there; never wrong in a yes."""

    def has_more(self, offset: int) -> bool:
        """Whether a read may find something; cheap, never wrong when it says no."""

    def read(self, offset: int, max_records: int, max_bytes: int) -> Block:
        """The next records. While there are none: NOTHING when the position stays, else EMPTY."""

    def notice_deletion(self) -> None:
        """After a read that found nothing: begin anew if the open file has been deleted or cut.

        Readers of deleted files would otherwise wait in them for ever.
        """

    def skip_to(self) -> int:
        """After an empty read: the offset to go on at (records given up by a repair are passed)."""

    def close(self) -> None: ...


class Bell(Protocol):
    """How one consumer waits; one thread at a time."""

    def fileno(self) -> int: ...
    def listen_to(self, places: Iterable[TopicPartition] | None) -> None:
        """Which partitions ring; None means all of the stream."""

    def arm(self, order: int) -> None:
        """Say that we wait, as one of RING_ORDERS; the caller looks once more before it blocks."""

    def is_armed(self) -> bool:
        """False once rung since `arm`."""

    def quiet(self) -> None:
        """Take out the rings so far."""

    def wake(self) -> None:
        """Ring our own bell."""

    def wait(self, timeout_s: float) -> None:
        """Block until rung, at most `timeout_s`; may return early."""

    def close(self) -> None: ...


class Forkable(Protocol):
    """Something that holds descriptors or mutexes."""

    def after_fork(self) -> None:
        """In the child: close the parent's descriptors, and make new mutexes.

        The parent's locks live as long as any descriptor of theirs, so an idle child would keep
        them after the parent's death; and a mutex that another thread held stays held for ever.
        """


class Lease(Protocol):
    """A group member's sign of life: gone with its process, stale when it hangs."""

    def beat(self, now_ns: int) -> None: ...
    def close(self) -> None: ...


class GroupStore(Protocol):
    """The shared state of one consumer group; thread-safe."""

    name: str

    def load(self) -> GroupState: ...

    def update(self, change: Callable[[GroupState], GroupState]) -> GroupState:
        """Replace the state under the group's lock; everybody is told when it has changed."""

    def lease(self, member: str) -> Lease: ...

    def absent(self, members: Iterable[str], now_ns: int, timeout_ns: int) -> set[str]:
        """Which of these members are dead, or have not beaten for `timeout_ns`."""

    def commit(self, member: str, offsets: Mapping[TopicPartition, tuple[int, int]]) -> None:
        """Store (offset, since) per partition, all or none. Raises Fenced."""

    def committed(self) -> dict[TopicPartition, int]: ...

    def committed_at(self, place: TopicPartition) -> int | None: ...

    def set_committed(self, place: TopicPartition, offset: int | None) -> None:
        """An operator's reset; None forgets the offset."""

    def close(self) -> None: ...


class Backend(Protocol):
    """One stream's home."""

    address: str
    config: StreamConfig

    version: Callable[[], object]
    """A value that differs after topics, partitions or groups have changed; costs next to nothing.
    """

    news: Callable[[], News]
    """A value that differs after a commit, too: as long as it is the same, nothing has come. (A
    commit whose process was killed at once may go untold: look now and then all the same.)
    """

    def tick_of(self, place: TopicPartition) -> slice | None:
        """Where in `news`, which can be sliced then, it says of this partition that something has
        come; None where news are of the stream as a whole.
        """

    def look_after(self) -> None:
        """Called now and then by who reads: see to what waiting needs. Raises nothing."""

    def topics(self) -> list[str]: ...
    def partitions(self, topic: str) -> int:
        """0 when there is no such topic."""

    def incarnation(self, topic: str) -> object:
        """Differs when the topic has been deleted and made again."""

    def make_topic(self, topic: str, partitions: int) -> None:
        """Make a topic, or give it more partitions; fine when it has as many."""

    def delete_topic(self, topic: str) -> None: ...
    def writer(self, place: TopicPartition, opened: Callable[[Writer], None]) -> Writer: ...
    def make_readable(self, place: TopicPartition, *, may_wait: bool) -> bool:
        """Called before `reader`: the first one after a start of the machine may have to recover
        the partition. False when another process holds its lock, and we may not wait; else this
        raises LockTimeout.
        """

    def reader(self, place: TopicPartition) -> Reader: ...
    def bell(self) -> Bell: ...
    def begin(self, place: TopicPartition) -> int: ...
    def end(self, place: TopicPartition) -> int: ...
    def offset_at(self, place: TopicPartition, time_ns: int) -> int: ...
    def newest_ns(self, place: TopicPartition) -> int | None:
        """When the last record was appended, as far as can be read; None without one."""

    def groups(self) -> list[str]: ...
    def group(self, name: str) -> GroupStore: ...
    def delete_group(self, name: str) -> None: ...
    def new_member_name(self) -> str: ...
    def watch_forks(self, thing: Forkable) -> None:
        """Have `thing.after_fork` called in children of this process."""

    def close(self) -> None: ...
