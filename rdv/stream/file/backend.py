"""The backend of a file stream manages its directory, its topics, its board and its groups."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

from rdv.clock import Clock
from rdv.coded import coded
from rdv.stream.address import check_name
from rdv.stream.config import PARTITIONS_MAX, StreamConfig, with_format
from rdv.stream.errors import (
    DiskFull,
    InvalidArgument,
    LockTimeout,
    NotPermitted,
    PartitionsShrink,
    StreamNotFound,
    TopicNotFound,
)
from rdv.stream.file import layout, lookup
from rdv.stream.file.board import Board, tick_in_news
from rdv.stream.file.groups import FileGroup
from rdv.stream.file.lock import partition_locked
from rdv.stream.file.reader import PartitionReader
from rdv.stream.file.recovery import needs_recovery, recover
from rdv.stream.file.segment import open_segments
from rdv.stream.file.syncer import Syncer
from rdv.stream.file.topic import TopicFacts, partitions_of, read_facts, write_facts
from rdv.stream.file.waiter import FifoWaiter
from rdv.stream.file.writer import PartitionWriter
from rdv.stream.record import TopicPartition
from rdv.system.disk import Disk
from rdv.system.faults import faults
from rdv.system.file_lock import locked
from rdv.system.forks import Forkable, watch_forks

log = logging.getLogger("rdv.stream")

_MAKE_LOCK_TIMEOUT_MS = 10_000


class FileBackend:
    """A `FileBackend` is one open file stream. Thread-safe, except its readers and waiters."""

    def __init__(
        self,
        disk: Disk,
        path: str,
        config: StreamConfig,
        clock: Clock,
        board: Board | None = None,
    ) -> None:
        self.address = path
        self.config = config
        self._disk = disk
        self._clock = clock
        if board is None:  # with a board it only inspects, and changes nothing
            disk.file_mode = config.file_mode
            with contextlib.suppress(OSError):
                if disk.apply_mode(path, layout.DOORBELLS):
                    text = "%s: its files have mode %s from now on"
                    log.warning(text, path, config.mode, extra=coded("mode_changed"))
        self._board = board or Board(disk, path)
        self.version: Callable[[], object] = self._board.version
        self.news: Callable[[], object] = self._board.news
        self._syncer = Syncer(config.fsync_interval_ms)
        self._mutex = threading.Lock()
        self._groups: dict[str, FileGroup] = {}
        self._first_times = lookup.FirstTimes()
        self._is_of_today = False
        watch_forks(self)

    def look_after(self) -> None:
        self._board.look_after()

    def after_fork(self) -> None:
        """Renew the mutex; see `Forkable`."""
        self._mutex = threading.Lock()

    def watch_forks(self, thing: Forkable) -> None:
        watch_forks(thing)

    def directory(self, place: TopicPartition) -> str:
        return layout.partition_directory(self.address, place.topic, place.partition)

    def tick_of(self, place: TopicPartition) -> slice | None:
        return tick_in_news(*place)

    def topics(self) -> list[str]:
        with faults(self.address, "list"):
            try:
                names = self._disk.list_directory(self.address)
            except FileNotFoundError:
                raise StreamNotFound(self.address) from None
        return sorted(
            name
            for name in names
            if not name.startswith(".")
            and name != layout.CONFIG_FILE
            and self._disk.is_directory(f"{self.address}/{name}")
        )

    def partitions(self, topic: str) -> int:
        with faults(self.address, "list"):
            return partitions_of(self._disk, f"{self.address}/{check_name(topic, 'topic')}")

    def incarnation(self, topic: str) -> object:
        # The inode does not serve: file systems reuse it for the next directory at once.
        path = f"{self.address}/{check_name(topic, 'topic')}/{layout.IDENTITY_FILE}"
        with faults(path, "read"):
            try:
                return self._disk.read_file(path)
            except FileNotFoundError:
                return None

    def make_topic(self, topic: str, partitions: int) -> None:
        check_name(topic, "topic")
        if not 1 <= partitions <= PARTITIONS_MAX:
            raise InvalidArgument("partitions", partitions, f"not between 1 and {PARTITIONS_MAX}")
        directory = f"{self.address}/{topic}"
        facts = TopicFacts(topic, partitions)
        if self.partitions(topic) == partitions and read_facts(self._disk, directory):
            return  # the usual case, without a lock
        with self.changing():
            count = self.partitions(topic)
            if count > partitions:
                raise PartitionsShrink(topic, count, partitions)
            if self._disk.is_directory(directory):
                self._fill(directory, count, facts)
            else:
                self._make_whole(directory, facts)
            if self.config.fsync != "none":
                self._disk.sync_directory(self.address)
        if count != partitions:
            self.changed()

    def _make_whole(self, directory: str, facts: TopicFacts) -> None:
        """Make a topic's directory under a hidden name until it is complete.

        A process that saw a part of it would find no partition for its records, or would choose
        another one for a key than all other processes.
        """
        disk, unfinished = self._disk, f"{self.address}/{layout.UNFINISHED}"
        if disk.is_directory(unfinished):  # its maker was killed
            disk.remove_tree(unfinished)
        self._fill(unfinished, 0, facts)
        if disk.exists(directory):
            disk.set_aside(directory, for_directory=True)
        disk.rename(unfinished, directory)

    def _fill(self, directory: str, count: int, facts: TopicFacts) -> None:
        disk = self._disk
        if not count:
            disk.mkdir(directory, inside=self.address)
            path = f"{directory}/{layout.IDENTITY_FILE}"
            if not disk.is_file(path):  # if it exists, all partitions of a topic were deleted
                disk.replace_file(path, f"{disk.new_name()}\n".encode())
        for number in range(count, facts.partitions):
            disk.mkdir(f"{directory}/{number}", inside=self.address)
        known = read_facts(disk, directory)
        if known is None or known.partitions != facts.partitions:
            # A renamed directory keeps its previous name in the file, for `repair`.
            name = facts.name if known is None else known.name
            write_facts(disk, directory, TopicFacts(name, facts.partitions))
        if self.config.fsync != "none":
            disk.sync_directory(directory)

    def delete_topic(self, topic: str) -> None:
        """Delete a topic with its records and its committed offsets. Not for a topic in use."""
        with self.changing():
            count = self.partitions(topic)
            if not count:
                raise TopicNotFound(self.address, topic)
            # The topic is hidden at once; so is what is left of an interrupted deletion.
            doomed = f"{self.address}/.deleted-{self._disk.new_name()}"
            self._disk.rename(f"{self.address}/{topic}", doomed)
            self.changed()
            self._disk.remove_tree(doomed)
        for name in self.groups():
            for place in self.group(name).committed():
                if place.topic == topic:
                    self.group(name).set_committed(place, None)
        self.changed()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock for changing topics for a block. Raises LockTimeout and SystemFaults."""
        directory = f"{self.address}/{layout.DOORBELLS}"
        with faults(self.address, "change"):
            if self._disk.exists(f"{self.address}/{layout.CONFIG_FILE}"):  # else it is another one
                self._disk.mkdir(directory, inside=self.address)
            with locked(self._disk, f"{directory}/making", _MAKE_LOCK_TIMEOUT_MS):
                yield

    def writer(
        self, place: TopicPartition, opened: Callable[[PartitionWriter], None]
    ) -> PartitionWriter:
        def after_open(writer: PartitionWriter) -> None:
            if self.config.fsync == "interval":
                self._syncer.watch(writer)
            opened(writer)

        self.claim_format()
        return PartitionWriter(
            self._disk,
            self.directory(place),
            self.config,
            self._clock,
            announce=self._board.announcer(*place),
            opened=after_open,
            recovered=lambda end: self._after_recovery(place, end),
        )

    def claim_format(self) -> None:
        """Keep processes of rdv 0.1 away from this stream, before anything is written."""
        if self._is_of_today:
            return
        path = f"{self.address}/{layout.CONFIG_FILE}"
        with contextlib.suppress(FileNotFoundError), faults(self.address, "write to"):
            data = self._disk.read_file(path)
            today = with_format(data, path).encode()
            if today != data:
                self._disk.replace_file(path, today, durable=True)
        self._is_of_today = True

    def _after_recovery(self, place: TopicPartition, end: int) -> None:
        """Lower committed offsets beyond `end`, as groups would skip the records that come next."""
        for name in self.groups():
            group = self.group(name)
            committed = group.committed_at(place)
            if committed is not None and committed > end:
                group.set_committed(place, end)

    def ensure_recovered(self, place: TopicPartition, wait_ms: int | None = None) -> None:
        """Recover a partition that no process has written to since the machine started.

        Without permission to write, or space for the copies, a reader goes on without recovery: it
        meets what is damaged. Raises LockTimeout when another process has held the partition's lock
        for `wait_ms` (None: the stream's `lock_timeout_ms`).
        """
        wait_ms = self.config.lock_timeout_ms if wait_ms is None else wait_ms
        directory = self.directory(place)
        with contextlib.suppress(NotPermitted, DiskFull), faults(directory, "recover"):
            if needs_recovery(self._disk, directory):
                with partition_locked(self._disk, directory, wait_ms) as fd:
                    outcome = recover(self._disk, directory, fd)
                if outcome.end is not None:
                    self._after_recovery(place, outcome.end)

    def make_readable(self, place: TopicPartition, *, may_wait: bool) -> bool:
        """Recover the partition if needed; see `Backend.make_readable`."""
        try:
            self.ensure_recovered(place, wait_ms=None if may_wait else 0)
        except LockTimeout:
            if may_wait:
                raise
            return False
        return True

    def reader(self, place: TopicPartition) -> PartitionReader:
        return PartitionReader(self._disk, self.directory(place), *place)

    def waiter(self) -> FifoWaiter:
        return FifoWaiter(self._board, self._disk)

    def begin(self, place: TopicPartition) -> int:
        return lookup.begin_offset(self._disk, self.directory(place))

    def end(self, place: TopicPartition) -> int:
        return lookup.end_offset(self._disk, self.directory(place))

    def offset_at(self, place: TopicPartition, time_ns: int) -> int:
        directory, incarnation = self.directory(place), self.incarnation(place.topic)
        return lookup.offset_at(
            self._disk, directory, time_ns, self._clock.wall_ns(), self._first_times, incarnation
        )

    def newest_ns(self, place: TopicPartition) -> int | None:
        return lookup.newest_ns(self._disk, self.directory(place))

    def groups(self) -> list[str]:
        path = f"{self.address}/{layout.GROUPS}"
        with faults(path, "list"):
            try:
                names = sorted(self._disk.list_directory(path))
            except FileNotFoundError:
                return []
            return [name for name in names if self._disk.is_directory(f"{path}/{name}")]

    def group(self, name: str) -> FileGroup:
        check_name(name, "group")
        with self._mutex:
            if name not in self._groups:
                self._groups[name] = FileGroup(
                    self._disk, self.address, name, self._board, self.config
                )
            return self._groups[name]

    def delete_group(self, name: str) -> None:
        with self._mutex:
            group = self._groups.pop(name, None)
        if group is not None:
            group.close()
        path = f"{self.address}/{layout.GROUPS}/{check_name(name, 'group')}"
        with faults(path, "delete"):
            if self._disk.exists(path):
                self._disk.remove_tree(path)
        self.changed()

    def new_member_name(self) -> str:
        return self._disk.new_name()

    def segments(self, place: TopicPartition) -> list[int]:
        """Return the base offsets of a partition's segments."""
        with faults(self.directory(place), "list"):
            return open_segments(self._disk, self.directory(place))

    def changed(self) -> None:
        """Have all processes look again at topics, partitions and groups."""
        self._board.changed()

    @property
    def disk(self) -> Disk:
        return self._disk

    def close(self) -> None:
        self._syncer.close()
        with self._mutex:
            for group in self._groups.values():
                group.close()
            self._groups = {}
        self._board.close()
