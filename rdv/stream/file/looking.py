"""Commands inspect a stream through this backend: it makes, changes and locks nothing.

Every user who may read the files can therefore inspect them, even in a new decision and on a full
disk. Without the board, new records are looked for periodically, and waiting uses the kernel's
notices of changed files (inotify), for a fifth of a second at most.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

from rdv.clock import Clock
from rdv.stream.config import StreamConfig
from rdv.stream.errors import NotPermitted
from rdv.stream.file import layout
from rdv.stream.file.backend import FileBackend
from rdv.stream.file.board import Board
from rdv.stream.file.waiter import BACKSTOP_S, FifoWaiter
from rdv.stream.file.writer import PartitionWriter
from rdv.stream.record import TopicPartition
from rdv.system.disk import Disk

LOOK_NS = 50_000_000
"""How often topics are looked for at most, in nanoseconds; records are looked for at each call."""

_WHY = "change, as it was opened for looking only,"


class LookingBoard(Board):
    """A `LookingBoard` has no file; its version and news are the time. Thread-safe."""

    def __init__(self, stream: str, clock: Clock) -> None:
        self.directory = f"{stream}/{layout.DOORBELLS}"
        self._now_ns = clock.monotonic_ns
        self.version: Callable[[], object] = lambda: self._now_ns() // LOOK_NS
        self.news: Callable[[], object] = self._now_ns

    def changed(self) -> None:
        raise NotPermitted(self.directory, _WHY)

    def announcer(self, topic: str, partition: int) -> Callable[[int], None]:
        raise NotPermitted(f"{self.directory}/{topic}/{partition}", _WHY)

    def look_after(self) -> None:
        """Do nothing: there is no file to check."""

    def after_fork(self) -> None: ...
    def close(self) -> None: ...


class LookingWaiter(FifoWaiter):
    """A `LookingWaiter` waits for changes of the partitions' files. Not thread-safe."""

    def __init__(self, backend: LookingBackend, disk: Disk) -> None:
        self._backend = backend
        self._disk = disk
        self._fd = -1
        self._places: list[TopicPartition] | None = []
        self._watched: set[str] = set()
        self._is_forked = False

    def fileno(self) -> int:
        if self._fd < 0:
            self._fd = self._disk.open_notices()
        return self._fd

    def listen_to(self, places: Iterable[TopicPartition] | None) -> None:
        self._places = None if places is None else list(places)

    def arm(self, priority: int) -> None:
        """Watch the folders that exist now; later ones are found after `BACKSTOP_S`."""
        del priority
        fd = self.fileno()
        for path in self._folders():
            if path not in self._watched and self._disk.add_notice(fd, path):
                self._watched.add(path)

    def _folders(self) -> list[str]:
        backend, places = self._backend, self._places
        if places is None:
            places = [
                TopicPartition(topic, number)
                for topic in backend.topics()
                for number in range(backend.partitions(topic))
            ]
        return [backend.address, *(backend.directory(place) for place in places)]

    def wake(self) -> None:
        """Do nothing: the first look happens by itself."""

    def is_armed(self) -> bool:
        return True

    def drain(self) -> None: ...

    def wait(self, timeout_s: float) -> None:
        if self._disk.wait_readable(self.fileno(), min(timeout_s, BACKSTOP_S)):
            self._disk.drain_notices(self.fileno())

    def after_fork(self) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            self._disk.close(self._fd)
        self._fd = -1


class LookingBackend(FileBackend):
    """A `LookingBackend` only reads an existing file stream.

    Thread-safe, except its readers and waiters.
    """

    def __init__(self, disk: Disk, path: str, config: StreamConfig, clock: Clock) -> None:
        super().__init__(disk, path, config, clock, LookingBoard(path, clock))

    def tick_of(self, place: TopicPartition) -> slice | None:
        del place
        return None

    def make_topic(self, topic: str, partitions: int) -> None:
        """Do nothing: a missing topic looks empty until another process makes it."""

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        self._board.changed()
        yield

    def ensure_recovered(self, place: TopicPartition, wait_ms: int | None = None) -> None:
        """Do nothing: damage by a power loss is reported as damage; the next writer recovers it."""

    def writer(
        self, place: TopicPartition, opened: Callable[[PartitionWriter], None]
    ) -> PartitionWriter:
        del opened
        raise NotPermitted(self.directory(place), _WHY)

    def waiter(self) -> FifoWaiter:
        return LookingWaiter(self, self._disk)
