"""The worker's reading side is a member of its model's group, and commits its progress."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterable

from rdv.clock import Clock
from rdv.coded import coded
from rdv.errors import RdvError
from rdv.rendezvous.backlog import Waiting
from rdv.rendezvous.deadlines import due_times_ns
from rdv.rendezvous.schedule import SLA_MS_MAX
from rdv.serve.batches import REQUESTS
from rdv.serve.feeds import CHAMPION_PRIORITY, MODEL_PRIORITY, Feed
from rdv.stream import Block, GroupTiming, Recent, Stream, TopicPartition
from rdv.stream.errors import TopicNotFound

log = logging.getLogger("rdv.worker")

Written = Callable[[], bool]

POLL_RECORDS_MAX = 500
COMMIT_EVERY_NS = 100_000_000
TIMING = GroupTiming(session_timeout_ms=10_000, heartbeat_ms=500)

START_S = 10
"""Where a worker starts: far enough back for a topic that a new proxy has made meanwhile. A model
that skips late requests does not go back any further either, whatever was committed. Where a
schedule has a longer SLA, it is that (`start_s`).
"""


def _always() -> bool:
    return True


class RequestReader:
    """Reads requests, skips invalid ones, commits. One thread."""

    def __init__(
        self,
        stream: Stream,
        name: str,
        *,
        skips: bool,
        host: str,
        clock: Clock,
        start_s: int = START_S,
        on_assign: Callable[[], None] = lambda: None,
        on_revoke: Callable[[list[TopicPartition]], None] = lambda _: None,
        reports: Callable[[int], Written] = lambda _: _always,
    ) -> None:
        """Join the group of the model `name`.

        `start_s`: how far back requests may still be open; see START_S. `on_assign` is called
        before requests of partitions are read that another worker may have had, `on_revoke` before
        another worker gets some of this one's. `reports` gives, for a partition, a function that
        says whether all reports until now on its requests are in the log: until then what was read
        is not committed, so that the next worker reads it again if this one is killed.
        """
        self._stream = stream
        self._on_assign = on_assign
        self._reports = reports
        self._unwritten: dict[TopicPartition, tuple[int, Written]] = {}
        """What may be committed as soon as the reports on it are written."""
        self._host = host
        self._clock = clock
        self._skips = skips
        self._name = name
        self._start_s = start_s
        self._new: list[TopicPartition] = []
        self._unseen = _unseen(stream, name)
        self._overdue_ns: dict[TopicPartition, int] = {}
        self._overdue_max_ns = 0
        self._committed: dict[TopicPartition, int] = {}
        self._commit_ns = 0
        self._windows_ms: dict[str, float] = {}
        self.malformed = self.not_asked = 0
        consumer = stream.consumer(
            group=name,
            start=Recent(start_s * 1_000),
            timing=TIMING,
            on_assign=self._new.extend,
            on_revoke=on_revoke,
        )
        consumer.wakeup_priority = MODEL_PRIORITY
        self.feed = Feed(consumer)

    def read(self) -> list[Waiting]:
        """Return the requests that have come."""
        if not self.feed.is_ready:
            return []
        if self._new:
            self._on_assign()
            try:
                self._skip_old()
            except RdvError as error:  # the log is damaged there: late requests are refused
                self.feed.losses.note(error)
        found: list[Waiting] = []
        for block in self.feed.poll(POLL_RECORDS_MAX):
            self._take(block, found)
        if found and found[-1].request.windows_ms != self._windows_ms:
            self._set_wake_up_priority(found[-1].request.windows_ms)
        return found

    def _take(self, block: Block, found: list[Waiting]) -> None:
        name, host, now_ns = self._name, self._host, self._clock.monotonic_ns()
        for number, request in enumerate(REQUESTS.read(block)):
            if request is None:
                self.malformed += 1
                continue
            if request.not_asked and name in request.not_asked:
                self.not_asked += 1
                continue
            due_ns, wanted_ns = due_times_ns(request, name, host, now_ns)
            if due_ns < self._overdue_max_ns and due_ns < self._since_ns(block):
                continue
            found.append(Waiting(request, block, number, due_ns, wanted_ns))

    def _set_wake_up_priority(self, windows_ms: dict[str, float]) -> None:
        """Set the wake-up priority: the model whose turn ends first is notified first.

        The last schedule seen counts.
        """
        self._windows_ms = windows_ms
        soonest_ms = min(windows_ms.values(), default=0.0)
        is_champion = windows_ms.get(self._name, SLA_MS_MAX) <= soonest_ms
        self.feed.consumer.wakeup_priority = CHAMPION_PRIORITY if is_champion else MODEL_PRIORITY

    def _since_ns(self, block: Block) -> int:
        """Return the time before which due requests are skipped: their proxies no longer waited."""
        return self._overdue_ns.get(TopicPartition(block.topic, block.partition), 0)

    def _skip_old(self) -> None:
        """Skip requests so old that no proxy waits for them: even a refusal would be wasted.

        Where the model is new, or comes back after a long time, that is all that is overdue now.
        Where another instance was at work a moment ago, all is reported: it may have left some.
        """
        places, self._new[:] = list(self._new), []
        if not self._skips:
            return
        consumer, now_ns = self.feed.consumer, self._clock.wall_ns()
        positions, back_ns = consumer.positions(), self._start_s * 10**9
        for place in places:
            if place in positions:
                # A clock that was set ahead must not hide requests that are still open.
                newest_ns = self._stream.newest_ns(*place)
                since_ns = (now_ns if newest_ns is None else min(now_ns, newest_ns)) - back_ns
                first = self._stream.offset_at(*place, max(0, since_ns))
                if first > positions[place]:
                    consumer.seek(*place, first)
                    self._unseen.add(place)
                if place in self._unseen:
                    self._unseen.remove(place)
                    self._overdue_ns[place] = self._overdue_max_ns = self._clock.monotonic_ns()

    def rewind(self, waiting: Iterable[Waiting], places: Collection[TopicPartition]) -> None:
        """Go back to the first request of these partitions that still waits, so that the next
        commit leaves all of them to the next reader, which may be this worker again.
        """
        for place, offset in _first_offsets(waiting).items():
            if place in places:
                with contextlib.suppress(RdvError):  # retention has deleted it meanwhile
                    self.feed.consumer.seek(*place, offset)

    def commit(self, waiting: Iterable[Waiting], now_ns: int, *, at_once: bool = False) -> None:
        """Commit at intervals what was read, except requests that are still `waiting` or whose
        reports are not written yet.
        """
        if now_ns < self._commit_ns and not at_once:
            return
        self._commit_ns = now_ns + COMMIT_EVERY_NS
        offsets = self.feed.consumer.positions()
        for place, offset in _first_offsets(waiting).items():
            if place in offsets:
                offsets[place] = min(offsets[place], offset)
        for gone in self._unwritten.keys() - offsets.keys():
            del self._unwritten[gone]
        changed = {}
        for place, offset in offsets.items():
            if self._committed.get(place) != offset:
                written = self._written(place, offset)
                if written is not None:
                    changed[place] = written
        if not changed:
            return
        try:
            self.feed.consumer.commit(changed)
            self._committed |= changed
        except RdvError as error:
            log.warning("cannot commit: %s", error.text(), extra=coded("not_committed"))

    def _written(self, place: TopicPartition, offset: int) -> int | None:
        """Return how far the reports on requests before `offset` are written; None: no progress.

        What waited last time is checked first, so that load without a pause does not keep the
        commit from moving.
        """
        before, written = self._unwritten.pop(place, None), None
        if before is not None and before[0] <= offset:
            written, is_written = before
            if not is_written():
                self._unwritten[place] = before
                return None
        is_written = self._reports(place.partition)
        if is_written():
            return offset
        self._unwritten[place] = offset, is_written
        return written

    def close(self) -> None:
        self.feed.close()


def _first_offsets(waiting: Iterable[Waiting]) -> dict[TopicPartition, int]:
    """Return the lowest offset of each partition, with little work where blocks are in order."""
    first: dict[TopicPartition, int] = {}
    block, lowest = None, 0
    for one in waiting:
        if one.block is block and one.number >= lowest:
            continue
        block, lowest = one.block, one.number
        offset = block.offsets[lowest]
        first[one.place] = min(offset, first.get(one.place, offset))
    return first


def _unseen(stream: Stream, group: str) -> set[TopicPartition]:
    """Return the partitions that exist and that no worker of the model has read yet."""
    places: set[TopicPartition] = set()
    for topic in stream.topics():
        with contextlib.suppress(TopicNotFound):  # deleted meanwhile, or without its directories
            places.update(TopicPartition(topic, n) for n in range(stream.partitions(topic)))
    return places - stream.committed(group).keys() if group in stream.groups() else places
