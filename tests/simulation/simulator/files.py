"""Simulate a stream in real files, written and read by the product's own code, for faults of
directories.

Topics, groups and waiters are simulated as for other streams. The files of a process that dies are
closed as the kernel would close them: no code of the product runs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rdv.native import NATIVE
from rdv.stream.backend import Writer
from rdv.stream.errors import RecordsDamaged, RecordsLost
from rdv.stream.file import layout, lookup
from rdv.stream.file.reader import PartitionReader
from rdv.stream.file.topic import TopicFacts, write_facts
from rdv.stream.file.writer import PartitionWriter
from rdv.stream.record import Block, TopicPartition
from rdv.system.disk import Disk
from rdv.system.forks import forget
from simulator.ledger import Logged
from simulator.log import SimBackend, SimWriter
from simulator.scheduler import DEAD, Process

if TYPE_CHECKING:
    from simulator.oracle import Oracle

ALL = 1 << 20


class OwnedDisk(Disk):
    """Record which process has opened which descriptor."""

    def __init__(self, scheduler) -> None:
        self._scheduler = scheduler
        self._owners: dict[int, Process | None] = {}

    def _owned(self, fd: int) -> int:
        self._owners[fd] = self._scheduler.process
        return fd

    def open(self, path: str, *, write: bool = False, create: bool = False) -> int:
        return self._owned(super().open(path, write=write, create=create))

    def dup(self, fd: int) -> int:
        return self._owned(os.dup(fd))

    def close(self, fd: int) -> None:
        """Close a descriptor of the running process. Ignore one of a dead process, whose
        descriptors are closed already: the number may mean another file by now.
        """
        process = self._scheduler.process
        if fd in self._owners and (process is None or self._owners[fd] is process):
            del self._owners[fd]
            os.close(fd)

    def fdatasync(self, fd: int) -> None:
        os.fstat(fd)

    def sync_directory(self, path: str) -> None:
        os.stat(path)

    def pause(self, seconds: float) -> None:
        """Do nothing: no other process runs meanwhile."""

    def is_open(self, path: str) -> bool:
        """Return whether some process has the file open."""
        return any(self.is_at(fd, path) for fd in self._owners)

    def died(self, process: Process | None) -> None:
        for fd in [fd for fd, owner in self._owners.items() if owner is process]:
            del self._owners[fd]
            forget(fd)
            os.close(fd)

    def close_all(self) -> None:
        for owner in {*self._owners.values()}:
            self.died(owner)


OwnedDisk.native = NATIVE  # only open, dup and close differ


class SimFileBackend(SimBackend):
    """Simulate one stream of the world, in files."""

    def __init__(self, world, name: str, partitions: int) -> None:
        super().__init__(world, name, partitions)
        self._root = Path(tempfile.mkdtemp(prefix="rdv-sim-"))
        self._path = self._root / "stream"
        self._path.mkdir()
        self._disk = OwnedDisk(world.scheduler)
        self._moves = 0
        self._written: dict[TopicPartition, list[Logged]] = {}
        self._tried: dict[TopicPartition, set[bytes]] = {}
        self._writers: list[SimFileWriter] = []
        self._hidden: set[int] = set()
        self._emptied_ns: dict[TopicPartition, int] = {}
        """When an empty directory was put in the place of a partition's, the last time."""

    def directory(self, place: TopicPartition) -> str:
        return layout.partition_directory(str(self._path), place.topic, place.partition)

    def make_topic(self, topic: str, partitions: int) -> None:
        directory = self._path / topic
        for number in range(partitions):
            (directory / str(number)).mkdir(parents=True, exist_ok=True)
        if not (directory / layout.IDENTITY_FILE).exists():
            (directory / layout.IDENTITY_FILE).write_text(f"{topic}\n")
        write_facts(self._disk, str(directory), TopicFacts(topic, partitions))
        super().make_topic(topic, partitions)

    def writer(self, place: TopicPartition, opened: Callable[[Writer], None]) -> SimFileWriter:
        inner = PartitionWriter(
            self._disk, self.directory(place), self.config, self.world.clock,
            announce=lambda now_ns: None, opened=opened, recovered=lambda end: None,
        )  # fmt: skip
        self._writers.append(SimFileWriter(self, place, inner))
        return self._writers[-1]

    def reader(self, place: TopicPartition) -> SimFileReader:
        return SimFileReader(
            self, place, PartitionReader(self._disk, self.directory(place), *place)
        )

    def begin(self, place: TopicPartition) -> int:
        return lookup.begin_offset(self._disk, self.directory(place))

    def end(self, place: TopicPartition) -> int:
        return lookup.end_offset(self._disk, self.directory(place))

    def offset_at(self, place: TopicPartition, time_ns: int) -> int:
        now_ns = self.world.clock.wall_ns()
        times = lookup.FirstTimes()
        return lookup.offset_at(self._disk, self.directory(place), time_ns, now_ns, times, None)

    def newest_ns(self, place: TopicPartition) -> int | None:
        return lookup.newest_ns(self._disk, self.directory(place))

    def appended(self, place: TopicPartition, records: list[Logged]) -> None:
        self._written.setdefault(place, []).extend(records)

    def tried(self, place: TopicPartition, values: Iterable[bytes]) -> None:
        self._tried.setdefault(place, set()).update(values)

    def check(self, place: TopicPartition, block: Block) -> None:
        """Check that all values of the block were sent to this partition."""
        known = self._tried.get(place, set())
        wrong = [value for value in block.values() if value not in known]
        self.world.oracle.expect(not wrong, "right values", "%s/%s: %s", self.name, place, wrong)

    def move(self, what: str) -> None:
        """Rename every topic's or partition's directory, and put a copy in its place; or an empty
        directory, if the partition has one segment and its writers all have it open (only then can
        they put it back).
        """
        for topic in self.topics():
            if what == "topic":
                self._replace(self._path / topic, is_empty=False)
                continue
            for number in range(self.partitions(topic)):
                path = self._path / topic / str(number)
                segments = list(path.glob(f"*{layout.INDEX_SUFFIX}"))
                is_held = len(segments) == 1 and self._is_written(TopicPartition(topic, number))
                is_empty = what == "empty" and is_held
                if is_empty:
                    place = TopicPartition(topic, number)
                    self._emptied_ns[place] = self.world.scheduler.now_ns
                self._replace(path, is_empty=is_empty)

    def _is_written(self, place: TopicPartition) -> bool:
        """Return whether each process that has written there lives, and so has its files open."""
        writers = [writer for writer in self._writers if writer.place == place and writer.is_used]
        return bool(writers) and all(writer.process.state is not DEAD for writer in writers)

    def _replace(self, path: Path, *, is_empty: bool) -> None:
        self._moves += 1
        aside = self._root / f"aside-{self._moves}"
        path.rename(aside)
        if is_empty:
            path.mkdir()
        else:
            shutil.copytree(aside, path)
        self.world.note("replaced %s by %s", path, "an empty one" if is_empty else "a copy")

    def died(self, process: Process) -> None:
        self._disk.died(process)

    def audit(self, oracle: Oracle) -> None:
        """Check that every acknowledged record is there or is named by an error.

        Only records that an empty directory has replaced may be missing, if their writer was killed
        before it could put them back.
        """
        for place, records in self._written.items():
            values, _ = self._contents(place)
            self._hidden |= {id(logged) for logged in records if logged.value not in values}
        for writer in self._writers:
            if writer.process.state is not DEAD:
                writer.put_back()
        for place, records in self._written.items():
            values, named = self._contents(place)
            for logged in records:
                is_known = logged.value in values or logged.offset in named
                was_there = logged.at_ns <= self._emptied_ns.get(place, 0)
                is_excused = was_there and logged.by.code not in (None, 0)
                oracle.expect(
                    is_known or is_excused, "nothing is lost",
                    "%s/%s %d, appended by %s: %s", self.name, place, logged.offset, logged.by,
                    logged.value[:60],
                )  # fmt: skip

    def shown_ns(self, logged: Logged) -> int:
        """Return when a record can be seen: at the latest with the writer's next append."""
        if not self.world.faults.was_moved(self.name):
            return logged.at_ns
        return max(one.at_ns for one in self._written[logged.place])

    def is_hidden(self, logged: Logged) -> bool:
        """Return whether the record lies in files that its writer will put back next time."""
        return id(logged) in self._hidden

    def _contents(self, place: TopicPartition) -> tuple[set[bytes], set[int]]:
        reader = PartitionReader(self._disk, self.directory(place), *place)
        offset, end = self.begin(place), self.end(place)
        values: set[bytes] = set()
        named: set[int] = set()
        while offset < end:
            try:
                block = reader.read(offset, ALL, ALL)
            except (RecordsDamaged, RecordsLost) as error:
                named |= {*range(error.first_offset, error.last_offset + 1)}
                offset = error.last_offset + 1
                continue
            self.check(place, block)
            values |= {*block.values()}
            offset = block.offsets[-1] + 1 if block else max(offset + 1, reader.skip_to())
        reader.close()
        return values, named

    def forget(self) -> None:
        self._disk.close_all()
        shutil.rmtree(self._root, ignore_errors=True)


class SimFileWriter(SimWriter):
    """Wrap the product's writer of one process."""

    def __init__(
        self, backend: SimFileBackend, place: TopicPartition, inner: PartitionWriter
    ) -> None:
        super().__init__(backend, place, inner)
        self.place = place
        self.process = backend.world.scheduler.process
        self.is_used = False

    def _commit(self, values: Sequence[bytes], wait_ms: int | None) -> int:
        backend = self._backend
        if not values:
            return backend.end(self.place)
        backend.tried(self.place, values)
        offset = self._inner.append(values, wait_ms)
        self.is_used = True
        backend.committing = self.place, offset, values
        backend._notify(self.place)
        return offset

    def put_back(self) -> None:
        """Close the writer, as when its process ends by itself."""
        self._inner.close()

    def release(self) -> None:
        self._inner.release()

    def close(self) -> None:
        self._backend.world.step()
        self._inner.close()


class SimFileReader:
    """Wrap the product's reader of one process."""

    def __init__(
        self, backend: SimFileBackend, place: TopicPartition, inner: PartitionReader
    ) -> None:
        self._backend = backend
        self._place = place
        self._inner = inner
        self.has_more = inner.has_more
        self.notice_deletion = inner.notice_deletion
        self.skip_to = inner.skip_to
        self.close = inner.close

    @property
    def is_open(self) -> bool:
        return self._inner.is_open

    @property
    def is_drained(self) -> bool:
        return self._inner.is_drained

    def read(self, offset: int, max_records: int, max_bytes: int) -> Block:
        self._backend.world.step()
        block = self._inner.read(offset, max_records, max_bytes)
        if block:
            self._backend.check(self._place, block)
        return block
