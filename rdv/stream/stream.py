"""A `LogStream` is a stream over a backend of our own; `open_stream` returns it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

from rdv.clock import Clock
from rdv.stream.address import check_name
from rdv.stream.backend import Backend
from rdv.stream.config import StreamConfig
from rdv.stream.consumer import LogConsumer
from rdv.stream.errors import (
    Closed,
    InvalidArgument,
    OffsetOutOfRange,
    PartitionNotFound,
    TopicNotFound,
)
from rdv.stream.group.member import GroupTiming, Member
from rdv.stream.group.state import GroupState
from rdv.stream.producer import LogProducer
from rdv.stream.record import TopicPartition
from rdv.stream.start import Start, check_start


class LogStream:
    """A `LogStream` is a directory of topics. Thread-safe.

    Close it after its producers and consumers.
    """

    def __init__(self, backend: Backend, clock: Clock, *, may_wait: bool = True) -> None:
        self._backend = backend
        self._may_wait = may_wait
        self._clock = clock
        self._is_closed = False

    @property
    def address(self) -> str:
        """Return the address that was opened: a path, or memory:NAME."""
        return self._backend.address

    @property
    def config(self) -> StreamConfig:
        """Return the settings with which the stream was opened."""
        return self._backend.config

    def producer(self) -> LogProducer:
        """Return a producer; thread-safe. Keep it open: it keeps the files open."""
        self._check_open()
        return LogProducer(self._backend)

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
    ) -> LogConsumer:
        """Return a consumer, for one thread.

        `topics`: names (made when missing), or None for all, including those made later. `group`:
        share the partitions with the group's other members, and start at its committed offsets;
        without one, all `partitions` (or those named) are read. `start`: where to start without a
        committed offset. `on_revoke` is called in `poll` with the partitions that are about to go
        to another member, while a commit for them is still accepted; `on_assign` with new ones.
        Raises InvalidName and InvalidArgument.
        """
        self._check_open()
        check_start(start)
        if isinstance(topics, str):
            raise InvalidArgument("topics", topics, "give a list of topics")
        wanted = None if topics is None else frozenset(check_name(t, "topic") for t in topics)
        if wanted is not None and not wanted:
            raise InvalidArgument("topics", [], "name a topic at least, or None for all")
        if group is not None and partitions is not None:
            raise InvalidArgument("partitions", partitions, "a group assigns them by itself")
        member = None if group is None else self._member(group, wanted, timing)
        return LogConsumer(
            self._backend,
            wanted,
            member=member,
            start=start,
            partitions=None if partitions is None else frozenset(partitions),
            clock=self._clock,
            on_assign=on_assign,
            on_revoke=on_revoke,
            may_wait=self._may_wait,
        )

    def _member(
        self, group: str, topics: frozenset[str] | None, timing: GroupTiming | None
    ) -> Member:
        backend = self._backend
        for topic in topics or ():
            if not backend.partitions(topic):
                backend.make_topic(topic, backend.config.partitions)

        def partitions() -> dict[str, int]:
            return {topic: backend.partitions(topic) for topic in backend.topics()}

        return Member(
            backend.group(group),
            topics,
            partitions,
            backend.new_member_name,
            self._clock,
            timing or GroupTiming(),
        )

    def topics(self) -> list[str]:
        """Return the names of all topics, sorted."""
        self._check_open()
        return self._backend.topics()

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has. Raises TopicNotFound."""
        self._check_open()
        count = self._backend.partitions(topic)
        if not count:
            raise TopicNotFound(self.address, topic)
        return count

    def make_topic(self, topic: str, partitions: int | None = None) -> None:
        """Make a topic, or give it more partitions; does nothing when it has as many.

        Raises PartitionsShrink when it has more already.
        """
        self._check_open()
        if partitions is None:
            partitions = self._backend.partitions(topic) or self.config.partitions
        self._backend.make_topic(topic, partitions)

    def delete_topic(self, topic: str) -> None:
        """Delete a topic and its records. Producers that continue to send make it anew."""
        self._check_open()
        self._backend.delete_topic(check_name(topic, "topic"))

    def begin(self, topic: str, partition: int = 0) -> int:
        """Return the first offset that still exists."""
        return self._backend.begin(self._place(topic, partition))

    def end(self, topic: str, partition: int = 0) -> int:
        """Return the offset that the next record will get."""
        return self._backend.end(self._place(topic, partition))

    def offset_at(self, topic: str, partition: int, time_ns: int) -> int:
        """Return the first offset appended at or after `time_ns` since 1970, or the end."""
        return self._backend.offset_at(self._place(topic, partition), time_ns)

    def newest_ns(self, topic: str, partition: int = 0) -> int | None:
        """Return when the last record was appended; None without one."""
        return self._backend.newest_ns(self._place(topic, partition))

    def _place(self, topic: str, partition: int) -> TopicPartition:
        count = self.partitions(topic)
        if not 0 <= partition < count:
            raise PartitionNotFound(topic, partition, count)
        return TopicPartition(topic, partition)

    def groups(self) -> list[str]:
        """Return the names of all consumer groups that have ever been used."""
        self._check_open()
        return self._backend.groups()

    def group_state(self, group: str) -> GroupState:
        """Return the group's members, generation and assignment."""
        self._check_open()
        return self._backend.group(check_name(group, "group")).load()

    def absent_members(self, group: str, timing: GroupTiming | None = None) -> set[str]:
        """Return members that are dead or hang, and that no other member has evicted yet."""
        self._check_open()
        store = self._backend.group(check_name(group, "group"))
        timeout_ns = (timing or GroupTiming()).session_timeout_ms * 1_000_000
        return store.absent(store.load().members, self._clock.monotonic_ns(), timeout_ns)

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """Return a group's committed offsets: the next to read, per partition."""
        self._check_open()
        return self._backend.group(check_name(group, "group")).committed()

    def set_committed(self, group: str, topic: str, partition: int, offset: int | None) -> None:
        """Set a committed offset by hand, or forget it with None; members notice when they rejoin.

        Raises OffsetOutOfRange.
        """
        self._check_open()
        place = self._place(topic, partition)
        if offset is not None:
            begin, end = self._backend.begin(place), self._backend.end(place)
            if not begin <= offset <= end:
                raise OffsetOutOfRange(topic, partition, offset, begin, end)
        self._backend.group(check_name(group, "group")).set_committed(place, offset)

    def delete_group(self, group: str) -> None:
        """Forget a group, including its committed offsets. Not for a group with members."""
        self._check_open()
        self._backend.delete_group(check_name(group, "group"))

    def lag(self, group: str) -> dict[TopicPartition, int]:
        """Return the records beyond the committed offset, for every partition that has one."""
        return {
            place: max(0, self._backend.end(place) - offset)
            for place, offset in self.committed(group).items()
            if place.partition < self._backend.partitions(place.topic)
        }

    def _check_open(self) -> None:
        if self._is_closed:
            raise Closed("stream")

    def close(self) -> None:
        """Close the stream; close its producers and consumers before."""
        if not self._is_closed:
            self._is_closed = True
            self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
