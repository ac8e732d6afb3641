"""A `LogConsumer` reads records, alone or in a group, for every backend built on `backend.py`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from rdv.clock import Clock
from rdv.coded import coded
from rdv.stream.backend import WAKEUP_PRIORITIES, Backend
from rdv.stream.errors import Closed, Fenced, InvalidArgument, NoGroup, OffsetOutOfRange
from rdv.stream.group.member import Member
from rdv.stream.positions import Position, Positions
from rdv.stream.record import Block, Record, TopicPartition, records_of
from rdv.stream.start import Start, check_start, start_offset

log = logging.getLogger("rdv.stream")

LOOK_NS = 100_000_000
"""How often partitions are read at least, in nanoseconds, whatever the backend's news are."""
Rebalanced = Callable[[list[TopicPartition]], None]


class LogConsumer:
    """A `LogConsumer` reads records of some topics. One thread at a time; it survives no fork.

    Without a group it reads all partitions (or those named) from `start` on. With a group it reads
    its assigned partitions, from the committed offsets on: at least once.
    """

    def __init__(
        self,
        backend: Backend,
        topics: frozenset[str] | None,
        *,
        member: Member | None,
        start: Start,
        partitions: frozenset[int] | None,
        clock: Clock,
        on_assign: Rebalanced | None,
        on_revoke: Rebalanced | None,
        may_wait: bool = True,
    ) -> None:
        """Open the consumer. Without `may_wait`, partitions that are locked are read later."""
        self._backend = backend
        self._topics = topics
        self._member = member
        self._start: Start = start
        self._only = partitions
        self._clock = clock
        self._on_assign = on_assign
        self._on_revoke = on_revoke
        self._waiter = backend.waiter()
        self.wakeup_priority = WAKEUP_PRIORITIES[-1]
        """Of consumers that wait for the same records, those with a lower priority are notified
        sooner (`WAKEUP_PRIORITIES`). A component whose work others wait for must not queue behind
        them."""
        self._reading = Positions(backend)
        self._positions = self._reading.by_place
        self._version: object = None
        self._claims: Mapping[TopicPartition, int] = {}
        self._news: object = None
        self._look_ns = 0
        self._may_wait = may_wait
        self._locked: dict[TopicPartition, Start] = {}
        """Partitions assigned to this consumer that cannot be read yet, and where it starts in
        them."""
        self._is_watched = self._is_closed = self._is_forked = self._has_started = False
        self._committed: dict[TopicPartition, int] = {}
        backend.watch_forks(self)
        self._refresh()

    def poll(self, max_records: int = 500, timeout: float = 0.0) -> list[Record]:
        """Return up to `max_records` records once there are any; wait at most `timeout` seconds.

        An empty list means that nothing came. Order is kept within a partition; partitions take
        turns. Raises RecordsLost (once; the next poll continues after the loss), RecordsDamaged
        (until a caller seeks past it or the log is repaired), OffsetOutOfRange (once, when the log
        was cut or replaced by a shorter one; the next poll continues at its end), Closed and
        SystemFaults. Records that
        were read before the fault are returned first.
        """
        if max_records < 1:
            raise InvalidArgument("max_records", max_records, "ask for one record at least")
        self._waiter.drain()
        records = self.look(max_records)
        if records or (timeout <= 0 and not self._is_watched):
            return records
        return self._await(max_records, timeout)

    def poll_blocks(self, max_records: int, *, is_notified: bool) -> list[Block]:
        """Poll without a timeout, for callers that watch `fileno` and know whether it was readable.

        That saves the read with which a poll finds this out. Passing False when it was readable
        costs one needless wake-up; nothing is lost.
        """
        if is_notified:
            self._waiter.drain()
        if blocks := self.look_blocks(max_records):
            return blocks
        self._waiter.arm(self.wakeup_priority)
        return self.look_blocks(max_records)

    def drain_wakeups(self) -> None:
        """Drain the notifications of `fileno`, for callers that do not `poll` after a wake-up."""
        self._waiter.drain()

    def _await(self, max_records: int, timeout: float) -> list[Record]:
        """Register as waiting, look once more, and wait."""
        deadline = self._clock.monotonic_ns() + int(timeout * 1e9)
        while True:
            self._waiter.arm(self.wakeup_priority)
            # Once more: commits between the last look and `arm` did not notify this consumer.
            if records := self.look(max_records):
                return records
            left_s = (deadline - self._clock.monotonic_ns()) / 1e9
            if left_s <= 0:
                if self._is_watched and not self._waiter.is_armed():
                    # A notification for another partition has disarmed it: the caller must poll
                    # again.
                    self._waiter.wake()
                return records
            if self._member is not None:
                left_s = min(left_s, self._member.next_beat_s() + 0.001)
            self._waiter.wait(left_s)

    def look(self, max_records: int = 500) -> list[Record]:
        """Return the records that exist now, without waiting and without asking for a notification.

        It is for loops that poll again anyway: it costs half the system calls, and nothing for
        senders.
        """
        return records_of(self.look_blocks(max_records))

    def look_blocks(self, max_records: int = 500) -> list[Block]:
        """Return what `look` returns, but without making a Record of each."""
        if self._is_closed:
            self._check_open()
        now_ns = self._clock.monotonic_ns()
        is_time = now_ns >= self._look_ns
        if is_time:
            self._backend.look_after()
        news = self._backend.news()
        if news == self._news and not is_time:
            return []
        self._news = None
        if is_time:  # not at each look: news that never end must not put it off
            self._look_ns = now_ns + LOOK_NS
        if self._member is not None or self._backend.version() != self._version:
            self._refresh()
        if self._locked and is_time:
            self._adopt(self._claims)
        blocks, is_all = self._reading.read(max_records, news, everywhere=is_time)
        if is_all:
            self._news = news  # later commits will have changed it
        return blocks

    def _refresh(self) -> None:
        """Take over new topics and partitions, and the group's decisions."""
        version = self._backend.version()
        has_changed = version != self._version
        if self._member is not None:
            self._refresh_group(self._member, has_changed=has_changed)
        elif has_changed:
            self._adopt(dict.fromkeys(self._known_places(), 0))
        self._version = version

    def _refresh_group(self, member: Member, *, has_changed: bool) -> None:
        if not member.tick(changed=has_changed) and not has_changed:
            return
        leaving = member.to_release()
        if leaving:
            if self._on_revoke is not None:
                self._on_revoke(leaving)
            member.let_go(leaving)
        self._adopt({place: held.since for place, held in member.held.items()})

    def _known_places(self) -> list[TopicPartition]:
        backend = self._backend
        names = backend.topics() if self._topics is None else sorted(self._topics)
        for name in self._topics or ():
            if not backend.partitions(name):
                backend.make_topic(name, backend.config.partitions)
        return [
            TopicPartition(name, number)
            for name in names
            for number in range(backend.partitions(name))
            if self._only is None or number in self._only
        ]

    def _adopt(self, places: Mapping[TopicPartition, int]) -> None:
        """Read exactly these partitions from now on; each with the generation of its assignment.

        A partition that was lost and assigned again is read from its committed offset like a new
        one, and a topic that was deleted and made again from its beginning.
        """
        self._claims = places
        topics = {place.topic for place in places}
        incarnations = {topic: self._backend.incarnation(topic) for topic in topics}
        claims = {place: (since, incarnations[place.topic]) for place, since in places.items()}
        for place in self._reading.drop_all_but(claims):
            self._committed.pop(place, None)
        self._locked = {place: start for place, start in self._locked.items() if place in claims}
        added = self._readable(sorted(claims.keys() - self._positions.keys()))
        for place in added:
            position = self._reading.add(place, self._first_offset, *claims[place])
            self._committed[place] = position.offset
        self._has_started = True
        self._waiter.listen_to(self._positions if self._topics is not None else None)
        if added and self._on_assign is not None:
            self._on_assign(added)

    def _readable(self, places: list[TopicPartition]) -> list[TopicPartition]:
        """Return the partitions that can be read at once; the others are tried again later."""
        readable = []
        for place in places:
            if self._backend.make_readable(place, may_wait=self._may_wait):
                readable.append(place)
            elif place not in self._locked:
                text = "%s is not read yet: another process holds its lock"
                log.warning(text, place, extra=coded("partition_locked"))
                self._locked[place] = self._default_start()
        return readable

    def _default_start(self) -> Start:
        """Return where to start; "earliest" for later partitions, even in a "latest" consumer."""
        return "earliest" if self._has_started else self._start

    def _first_offset(self, place: TopicPartition) -> int:
        backend = self._backend
        if self._member is None:
            start = self._locked.pop(place, self._default_start())
            return start_offset(backend, place, start, self._clock)
        self._locked.pop(place, None)
        committed = self._member.store.committed_at(place)
        if committed is not None:
            return min(committed, backend.end(place))
        held = self._member.held[place]
        start = "earliest" if held.is_new else self._start
        offset = start_offset(backend, place, start, self._clock)
        if start != "earliest":
            # Committed, so that the partition's next owner starts from the same place.
            self._member.commit({place: (offset, held.since)})
        return offset

    def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        """Commit the offsets after the returned records (or the given next offsets) for the group.

        Raises Fenced when another member has taken over a partition: nothing is committed, and the
        next poll continues with the partitions that this member owns then. Raises NoGroup without a
        group.
        """
        member = self._require_member("commit")
        if offsets is None:
            offsets = {
                place: position.offset
                for place, position in self._positions.items()
                if self._committed.get(place) != position.offset
            }
        if not offsets:
            return
        carried, has_changed = {}, self._backend.version() != self._version
        for place, offset in offsets.items():
            if offset < 0:
                raise InvalidArgument("offsets", f"{place}: {offset!r}", "an offset is 0 or more")
            held = self._positions.get(TopicPartition(*place))
            if held is not None and has_changed and self._is_made_again(held):
                raise Fenced(member.store.name, member.name, *place, member.generation)
            carried[TopicPartition(*place)] = offset, held.since if held is not None else -1
        member.commit(carried)
        self._committed.update(offsets)

    def _is_made_again(self, position: Position) -> bool:
        """Return whether its topic has been deleted since, and perhaps made anew."""
        return position.incarnation != self._backend.incarnation(position.place.topic)

    def heartbeat(self) -> None:
        """Send a heartbeat to the group, during long work between two polls."""
        self._require_member("heartbeat").tick(changed=False)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Continue at `offset` in a partition that this consumer reads. Raises OffsetOutOfRange.

        The offset after reported damage is always accepted: if the files have been replaced since,
        it is the nearest offset that exists now.
        """
        self._check_open()
        place = TopicPartition(topic, partition)
        position = self._positions.get(place)
        if position is None:
            raise InvalidArgument("partition", str(place), "this consumer does not read it")
        begin, end = self._backend.begin(place), self._backend.end(place)
        if offset == position.behind_damage:
            offset = min(max(offset, begin), end)
        if not begin <= offset <= end:
            raise OffsetOutOfRange(topic, partition, offset, begin, end)
        position.offset, position.seen, self._news = offset, None, None
        self._committed.pop(place, None)

    def seek_to(self, start: Start) -> None:
        """Go to a place in all partitions: "earliest", "latest", an offset or a time."""
        self._check_open()
        check_start(start)
        self._news = None
        for place, position in self._positions.items():
            position.offset = start_offset(self._backend, place, start, self._clock)
            position.seen = None
            self._committed.pop(place, None)

    def positions(self) -> dict[TopicPartition, int]:
        """Return the next offset to be read, for every partition that this consumer reads."""
        return {place: position.offset for place, position in self._positions.items()}

    def lag(self) -> dict[TopicPartition, int]:
        """Return how many records exist beyond the position, per partition."""
        return {
            place: max(0, self._backend.end(place) - position.offset)
            for place, position in self._positions.items()
        }

    def assignment(self) -> list[TopicPartition]:
        """Return the partitions that this consumer reads."""
        return sorted(self._positions)

    @property
    def member_id(self) -> str:
        """Return the member's name in its group; it changes after an eviction."""
        return self._require_member("member_id").name

    def fileno(self) -> int:
        """Return a descriptor for select and `loop.add_reader`: readable when there may be records.

        Poll with timeout=0 until it returns nothing, then wait for the descriptor again. Wake up
        every 200 ms all the same, since a notification can be lost when its sender is killed in
        that very instant.
        """
        self._check_open()
        fd = self._waiter.fileno()
        if not self._is_watched:
            # Existing records send no notification: let the first look happen by itself.
            self._is_watched = True
            self._waiter.wake()
        return fd

    def _check_open(self) -> None:
        if self._is_forked:
            raise Closed("consumer", "it was opened before this process was forked off")
        if self._is_closed:
            raise Closed("consumer")

    def after_fork(self) -> None:
        """Mark the consumer as closed: group and waiter belong to the parent; see Forkable."""
        self._is_forked = self._is_closed = True

    def _require_member(self, call: str) -> Member:
        self._check_open()
        if self._member is None:
            raise NoGroup(call)
        return self._member

    def close(self) -> None:
        """Leave the group (others get its partitions at once) and close. Commits nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._reading.close()
        try:
            if self._member is not None:
                self._member.leave()
                self._member.store.close()
        finally:
            self._waiter.close()

    def __enter__(self) -> LogConsumer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
