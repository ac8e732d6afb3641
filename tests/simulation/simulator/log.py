"""Simulate the log: the product's in memory, with writers that fail and readers that see late."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING

from rdv.stream.backend import NOTHING, Writer
from rdv.stream.config import StreamConfig
from rdv.stream.errors import DiskFull, LockTimeout, RecordsDamaged, SyncFailed, WouldWait
from rdv.stream.group.state import GroupState
from rdv.stream.memory.backend import MemoryBackend, MemoryGroup
from rdv.stream.memory.partition import RETENTION_BYTES, MemoryPartition, MemoryReader
from rdv.stream.record import Block, TopicPartition
from rdv.stream.stream import LogStream
from simulator.ledger import Logged
from simulator.scheduler import MS, Killed, Process

if TYPE_CHECKING:
    from simulator.oracle import Oracle

NOT_YET_NS = 2**62


class SimBackend(MemoryBackend):
    """Simulate one stream of the world."""

    def __init__(self, world, name: str, partitions: int) -> None:
        config = StreamConfig(partitions=partitions, retention_bytes=RETENTION_BYTES)
        super().__init__(f"sim:{name}", config, world.clock)
        self.world = world
        self.name = name
        self.waiters: dict[SimWaiter, None] = {}  # in the order in which they were armed
        self._shown: dict[tuple[bool, TopicPartition], int] = {}
        """The end that readers of a broker see, by (whether by a server, partition)."""
        self.damaged: dict[TopicPartition, list[range]] = {}
        """Offsets of records that can no longer be read: a missing file, a misplaced sector."""
        self.committing: tuple[TopicPartition, int, Sequence[bytes]] | None = None
        self._told = 0
        self.news = lambda: self._told

    def writer(self, place: TopicPartition, opened: Callable[[Writer], None]) -> SimWriter:
        return SimWriter(self, place, super().writer(place, opened))

    def reader(self, place: TopicPartition) -> SimReader:
        return SimReader(self, place, self._partition(place))

    def waiter(self) -> SimWaiter:
        return SimWaiter(self)

    def make_topic(self, topic: str, partitions: int) -> None:
        if self.partitions(topic) != partitions:
            self.world.step()
            if self.world.disk.is_full(self.name):
                raise DiskFull(f"{self.address}/{topic}")
        super().make_topic(topic, partitions)

    def group(self, name: str) -> SimGroup:
        if name not in self._groups:
            self._groups[name] = SimGroup(self, name)
        return self._groups[name]

    def died(self, process: Process) -> None:
        """Close what the dead process had open: nothing, in memory."""

    def audit(self, oracle: Oracle) -> None:
        """Check the records after the run: memory loses nothing."""

    def shown_ns(self, logged: Logged) -> int:
        """Return when readers could first see the record."""
        return logged.at_ns

    def is_hidden(self, logged: Logged) -> bool:
        """Return whether readers could not see the record when the run ended."""
        del logged
        return False

    def forget(self) -> None:
        """Free what the stream holds, at the end of the run."""

    def open(self) -> LogStream:
        return LogStream(self, self.world.clock)

    def _notify(self, place: TopicPartition | None) -> None:
        """Notify readers after a commit. A process that is killed before has notified none."""
        if self.committing is not None:
            (committed, offset, values), self.committing = self.committing, None
            records = self.world.ledger.appended(self.name, committed, offset, values)
            self.appended(committed, records)
            # A process that is stopped in between is late: it has notified no reader yet.
            _set_times(records, NOT_YET_NS)
            try:
                self.world.step()
            except Killed:
                self.world.faults.untold()
                raise
            finally:
                _set_times(records, self.world.scheduler.now_ns)
        self._told += 1
        super()._notify(place)

    def damage(self, chance: Random) -> list[tuple[TopicPartition, range]]:
        """Spoil a run of the latest records of each partition; return which."""
        spoilt = []
        for topic in self.topics():
            for partition in range(self.partitions(topic)):
                place = TopicPartition(topic, partition)
                if end := self._partition(place).end():
                    first = max(0, end - chance.randint(1, 6))
                    run = range(first, min(end, first + chance.randint(1, 4)))
                    self.damaged.setdefault(place, []).append(run)
                    spoilt.append((place, run))
        return spoilt

    def appended(self, place: TopicPartition, records: list[Logged]) -> None:
        """Show new records to readers: a broker after a while, a file at once."""
        del records
        if self.world.plan.is_broker:
            end = self._partition(place).end()
            for is_server in (False, True):
                delay_ns = self.world.visibility_ns()
                self.world.scheduler.after(delay_ns, self._show, is_server, place, end)

    def _show(self, is_server: bool, place: TopicPartition, end: int) -> None:
        key = is_server, place
        self._shown[key] = max(self._shown.get(key, 0), end)
        self._notify(place)

    def shown_end(self, is_server: bool, place: TopicPartition, inner: MemoryPartition) -> int:
        """Return the end that a reader sees. A server may see scores before their request."""
        is_broker = self.world.plan.is_broker
        return self._shown.get((is_server, place), 0) if is_broker else inner.end_unlocked()


def _set_times(records: list[Logged], at_ns: int) -> None:
    for record in records:
        record.at_ns = at_ns


class SimWriter:
    """Inject kills, full disks and held locks into appends."""

    def __init__(self, backend: SimBackend, place: TopicPartition, inner: MemoryPartition) -> None:
        self._backend = backend
        self._place = place
        self._inner = inner

    def append(self, values: Sequence[bytes], wait_ms: int | None = None) -> int:
        backend, world, place = self._backend, self._backend.world, self._place
        world.step()
        if world.faults.locked_until_ns(backend.name) > world.scheduler.now_ns:
            self._await_lock(wait_ms)
        fault = world.disk.fault(backend.name)
        if fault == "full":
            world.note("%s/%s: disk full, %d records refused", backend.name, place, len(values))
            raise DiskFull(f"{backend.address}/{place}")
        if fault == "half":  # as a failed sync or a lost lock may leave it
            values = values[: world.random.randint(0, len(values))]
        offset = self._commit(values, wait_ms)
        if fault == "half":
            world.note("%s/%s: failed, %d records are there", backend.name, place, len(values))
            raise SyncFailed(f"{backend.address}/{place}", "input/output error")
        world.step()
        return offset

    def _commit(self, values: Sequence[bytes], wait_ms: int | None) -> int:
        del wait_ms
        offset = self._inner.end()
        if values:
            self._backend.committing = self._place, offset, values
            self._inner.append(values)
        return offset

    def _await_lock(self, wait_ms: int | None) -> None:
        """Wait while another process holds the lock of the partition."""
        backend, world = self._backend, self._backend.world
        path, process = f"{backend.address}/{self._place}", world.scheduler.current
        if wait_ms == 0:
            raise WouldWait(path, "another process has locked it")
        world.oracle.expect(
            process.owner is not None, "waits for no lock", "%s waits for %s", process, path
        )
        if wait_ms is None:
            wait_ms = backend.config.lock_timeout_ms
        until_ns = world.scheduler.now_ns + wait_ms * MS
        free_ns = world.faults.locked_until_ns(backend.name)
        process.sleep(min(until_ns, free_ns) - world.scheduler.now_ns)
        if free_ns > until_ns:
            raise LockTimeout(path, wait_ms, "another process")

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass


class SimReader(MemoryReader):
    """Simulate one consumer's view of a partition."""

    def __init__(self, backend: SimBackend, place: TopicPartition, inner: MemoryPartition) -> None:
        super().__init__(inner)
        self._backend = backend
        self._place = place
        self._is_server = "server" in backend.world.scheduler.current.name

    def has_more(self, offset: int) -> bool:
        return self._backend.shown_end(self._is_server, self._place, self._partition) > offset

    def read(self, offset: int, max_records: int, max_bytes: int):
        self._next = offset
        shown = end = self._backend.shown_end(self._is_server, self._place, self._partition)
        if end <= offset:
            self.is_drained = True
            return NOTHING
        self.is_drained = False
        self._backend.world.step()
        for run in self._backend.damaged.get(self._place, ()):
            if offset in run:
                path = f"{self._backend.address}/{self._place}"
                raise RecordsDamaged(path, *self._place, offset, run[-1], 0, 0, "a fault")
            if offset < run.start < end:
                end = run.start
        records = self._partition.read(offset, min(max_records, end - offset), max_bytes)
        self.is_drained = offset + len(records) == shown
        return Block.of(records)


class SimWaiter:
    """Implement `rdv.stream.backend.Waiter`; wake-ups may be lost, doubled, or late."""

    def __init__(self, backend: SimBackend) -> None:
        self._backend = backend
        self._world = backend.world
        self._owner = self._world.scheduler.current
        self._is_armed = False
        self.priority = 0
        self._places: frozenset[TopicPartition] | None = None
        self._number = 0

    def fileno(self) -> int:
        if not self._number:
            self._number = self._world.descriptors.make()
        return self._number

    def listen_to(self, places: Iterable[TopicPartition] | None) -> None:
        self._places = None if places is None else frozenset(places)

    def arm(self, priority: int) -> None:
        self._world.step()
        self.priority = priority
        self._is_armed = True
        self._backend.waiters[self] = None

    def notify(self, place: TopicPartition | None) -> None:
        if not self._is_armed:
            return
        if self._owner.state == "dead":
            self.close()
            return
        if place is not None and self._places is not None and place not in self._places:
            return
        self._is_armed = False
        self._backend.waiters.pop(self, None)
        if not self._world.loses_ring(self._owner):
            self.wake()

    def wake(self) -> None:
        if self._number:
            self._world.descriptors.signal(self._number)

    def is_armed(self) -> bool:
        return self._is_armed

    def drain(self) -> None:
        if self._number:
            self._world.descriptors.clear(self._number)

    def wait(self, timeout_s: float) -> None:
        raise AssertionError("components wait with select")

    def close(self) -> None:
        self._is_armed = False
        self._backend.waiters.pop(self, None)


class SimGroup(MemoryGroup):
    """Watch a group's state: which member gets which partition, and from which member."""

    def __init__(self, backend: SimBackend, name: str) -> None:
        super().__init__(name, backend._change)
        self._backend = backend
        self._world = backend.world
        self._owners: dict[str, object] = {}

    def update(self, change: Callable[[GroupState], GroupState]) -> GroupState:
        self._world.step()
        if self._world.disk.is_full(self._backend.name):
            raise DiskFull(f"{self._backend.address}/.groups/{self.name}")
        before = self._state
        after = self._state = change(before)
        if after is not before:
            self._world.groups.changed(self, before, after)
            self._changed()
        self._world.step()
        return after

    def lease(self, member: str):
        lease = super().lease(member)
        self._world.leases.append((self._world.scheduler.current, lease))
        self._world.groups.joined(member, self._world.scheduler.current)
        return lease

    def beat_ns(self, member: str) -> int | None:
        return self._beats.get(member)

    def commit(self, member: str, offsets: Mapping[TopicPartition, tuple[int, int]]) -> None:
        self._world.step()
        if self._world.disk.is_full(self._backend.name):
            raise DiskFull(f"{self._backend.address}/.groups/{self.name}")
        super().commit(member, offsets)
        self._world.groups.committed(self, member, offsets)
