"""A group's files: the agreed state, the members' leases, the committed offsets. See FORMAT.md."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from struct import Struct
from zlib import crc32

import msgspec

from rdv.stream.config import StreamConfig
from rdv.stream.errors import DiskFault, Fenced, LockTimeout
from rdv.stream.file import layout
from rdv.stream.file.board import Board
from rdv.stream.file.disk import Disk, faults, watch_forks
from rdv.stream.file.lock import FileLock
from rdv.stream.group.state import GroupState
from rdv.stream.record import TopicPartition

_BEAT = Struct("<Q")
_COMMIT = Struct("<QI")
_FORGOTTEN = 2**64 - 1
"""In place of a committed offset: there is none. Unlinking would leave open files behind."""

_decode = msgspec.json.Decoder(GroupState).decode
_encode = msgspec.json.Encoder().encode


class FileLease:
    """A file that its member keeps flocked: the lock goes with the process, the beat in it ages."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._fd = disk.open(path, write=True, create=True)
        disk.try_lock(self._fd)
        watch_forks(self)

    def beat(self, now_ns: int) -> None:
        if self._fd < 0:
            return
        with faults(self._path, "write to"):
            self._disk.pwrite(self._fd, _BEAT.pack(now_ns), 0)

    def after_fork(self) -> None:
        """See disk.Forkable: the child must not keep the lease of its parent."""
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self._disk.unlink(self._path)
            self._disk.close(self._fd)
            self._fd = -1


class FileGroup:
    """The shared state of one consumer group in `.groups/NAME`. Thread-safe."""

    def __init__(
        self, disk: Disk, stream: str, name: str, board: Board, config: StreamConfig
    ) -> None:
        self.name = name
        self._disk = disk
        self._directory = f"{stream}/{layout.GROUPS}/{name}"
        self._state_path = f"{self._directory}/state.json"
        self._board = board
        self._config = config
        self._mutex = threading.Lock()
        self._lock: FileLock | None = None
        self._commit_fds: dict[TopicPartition, int] = {}
        self._known: tuple[object, GroupState] = (None, GroupState())
        watch_forks(self)

    def after_fork(self) -> None:
        """See disk.Forkable."""
        self._mutex = threading.Lock()
        self._close_files()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._mutex, faults(self._directory, "use the group in"):
            lock = self._open()
            timeout_ms = self._config.lock_timeout_ms
            if not lock.acquire(timeout_ms / 1000):
                path = f"{self._directory}/{layout.LOCK_FILE}"
                raise LockTimeout(path, timeout_ms, self._disk.lock_holder(lock.fd))
            try:
                yield
            finally:
                lock.release()

    def _open(self) -> FileLock:
        if self._lock is not None and self._disk.is_unlinked(self._lock.fd):
            # The group has been deleted, and may have been made anew.
            self._close_files()
        if self._lock is None:
            self._disk.mkdir(f"{self._directory}/leases")
            path = f"{self._directory}/{layout.LOCK_FILE}"
            self._lock = FileLock(self._disk, self._disk.open(path, write=True, create=True))
        return self._lock

    def load(self) -> GroupState:
        """The agreed state; no lock is needed, since it is replaced as a whole."""
        with faults(self._state_path, "read"):
            return self._load()

    def _load(self) -> GroupState:
        # One tuple, stored at once: threads may load while another one updates.
        signature, state = self._known
        try:
            now = self._disk.signature(self._state_path)
            if now != signature:
                state = _decode(self._disk.read_file(self._state_path))
                self._known = now, state
        except FileNotFoundError:
            return GroupState()
        except msgspec.DecodeError:
            # What a power loss may leave of it. Its members died with the machine; the committed
            # offsets are elsewhere.
            return GroupState()
        return state

    def update(self, change: Callable[[GroupState], GroupState]) -> GroupState:
        """Replace the state by `change` of it; it is called under the group's lock: keep it pure.

        Nothing is written, and nobody told, when `change` returns what it was given.
        """
        with self._locked():
            before = self._load()
            after = change(before)
            if after is before:
                return before
            self._disk.replace_file(self._state_path, _encode(after))
            self._known = None, after
        self._board.changed()
        return after

    def lease(self, member: str) -> FileLease:
        with self._locked():
            self._clear_dead_leases()
            return FileLease(self._disk, self._lease_path(member))

    def _clear_dead_leases(self) -> None:
        for name in self._disk.list_directory(f"{self._directory}/leases"):
            path = self._lease_path(name)
            # A member that leaves in this moment takes its lease with it.
            with contextlib.suppress(FileNotFoundError):
                fd = self._disk.open(path)
                try:
                    if self._disk.try_lock(fd, shared=True):
                        self._disk.unlink(path)
                finally:
                    self._disk.close(fd)

    def _lease_path(self, member: str) -> str:
        return f"{self._directory}/leases/{member}"

    def absent(self, members: Iterable[str], now_ns: int, timeout_ns: int) -> set[str]:
        return {m for m in members if not self._is_present(m, now_ns, timeout_ns)}

    def _is_present(self, member: str, now_ns: int, timeout_ns: int) -> bool:
        disk = self._disk
        try:
            fd = disk.open(self._lease_path(member))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise DiskFault(self._lease_path(member), "open", str(error)) from error
        try:
            if disk.try_lock(fd, shared=True):
                return False
            beat = disk.pread(fd, _BEAT.size, 0)
            return len(beat) < _BEAT.size or now_ns - _BEAT.unpack(beat)[0] <= timeout_ns
        finally:
            disk.close(fd)

    def commit(self, member: str, offsets: Mapping[TopicPartition, tuple[int, int]]) -> None:
        with self._locked():
            state = self._load()
            for place, (_, since) in offsets.items():
                held = state.owner_of(place)
                if held is None or held.owner != member or held.since != since:
                    raise Fenced(self.name, member, *place, state.generation)
            for place, (offset, _) in offsets.items():
                self._write_commit(place, offset)

    def _write_commit(self, place: TopicPartition, offset: int) -> None:
        disk, fd = self._disk, self._commit_fds.get(place)
        if fd is None:
            if len(self._commit_fds) >= self._config.open_partitions_max:
                disk.close(self._commit_fds.pop(next(iter(self._commit_fds))))
            disk.mkdir(f"{self._directory}/offsets/{place.topic}")
            fd = disk.open(self._commit_path(place), write=True, create=True)
            self._commit_fds[place] = fd
        disk.write_all(fd, _COMMIT.pack(offset, crc32(offset.to_bytes(8, "little"))), 0)
        if self._config.fsync == "always":
            disk.fdatasync(fd)

    def _commit_path(self, place: TopicPartition) -> str:
        return f"{self._directory}/offsets/{place.topic}/{place.partition}"

    def committed_at(self, place: TopicPartition) -> int | None:
        """The committed offset; None when there is none, or a power loss has torn it."""
        path = self._commit_path(place)
        try:
            with faults(path, "read"):
                data = self._disk.read_file(path)
        except DiskFault:
            return None
        if len(data) < _COMMIT.size:
            return None
        offset, check = _COMMIT.unpack_from(data)
        is_valid = check == crc32(data[:8]) and offset != _FORGOTTEN
        return offset if is_valid else None

    def committed(self) -> dict[TopicPartition, int]:
        root = f"{self._directory}/offsets"
        found = {}
        with contextlib.suppress(FileNotFoundError), faults(root, "list"):
            if self._disk.is_directory(root):
                for topic in sorted(self._disk.list_directory(root)):
                    for name in self._disk.list_directory(f"{root}/{topic}"):
                        place = TopicPartition(topic, int(name))
                        if (offset := self.committed_at(place)) is not None:
                            found[place] = offset
        return dict(sorted(found.items()))

    def set_committed(self, place: TopicPartition, offset: int | None) -> None:
        with self._locked():
            if offset is not None or self._disk.exists(self._commit_path(place)):
                self._write_commit(place, _FORGOTTEN if offset is None else offset)

    def close(self) -> None:
        with self._mutex:
            self._close_files()

    def _close_files(self) -> None:
        for fd in self._commit_fds.values():
            self._disk.close(fd)
        self._commit_fds = {}
        if self._lock is not None:
            self._disk.close(self._lock.fd)
            self._lock = None
