"""The module keeps a group's files: the agreed state, leases and committed offsets. See FORMAT.md.

No lock stands between a member and its partitions. Each state is a numbered file of its own, which
is made complete by a link that fails if the number is taken. Of two members that change the same
state, one makes the next; the other loads that one and changes it in turn.
"""

from __future__ import annotations

import contextlib
import posixpath
import threading
from collections.abc import Callable, Iterable, Mapping
from struct import Struct
from zlib import crc32

import msgspec

from rdv.stream.config import StreamConfig
from rdv.stream.errors import DiskFault, Fenced
from rdv.stream.file import layout
from rdv.stream.file.board import Board
from rdv.stream.group.state import GroupState
from rdv.stream.record import TopicPartition
from rdv.system.disk import Disk
from rdv.system.faults import faults
from rdv.system.forks import watch_forks

_BEAT = Struct("<Q")
_COMMIT = Struct("<QI")
_FORGOTTEN = 2**64 - 1
"""The number that stands for no committed offset. Unlinking would leave open files behind."""

TRIES = 1_000
"""The maximum number of attempts to change the state, one for each time that another member was
quicker, which is rare."""

TORN_TRIES = 3
"""The maximum number of attempts to read a committed offset, which may look torn while it is being
written."""

_decode = msgspec.json.Decoder(GroupState).decode
_encode = msgspec.json.Encoder().encode


class FileLease:
    """A `FileLease` is a file that its member keeps locked and writes heartbeats to.

    The kernel releases the flock when the process ends; a member that hangs is noticed by the age
    of its last heartbeat.
    """

    def __init__(self, disk: Disk, stream: str, path: str) -> None:
        self._disk = disk
        self._stream = stream
        self._path = path
        self._fd = -1
        self._take()
        watch_forks(self)

    def _take(self) -> None:
        """Make the file and lock it.

        Between the two another member may test the lock, or take the file for that of a dead member
        and delete it: then it is tried again.
        """
        disk = self._disk
        for _ in range(TRIES):
            fd = disk.open(self._path, write=True, create=True)
            if disk.try_lock(fd) and disk.is_at(fd, self._path):
                self._fd = fd
                return
            disk.close(fd)
            disk.give_way()
        raise DiskFault(self._path, "lock", "another process holds it")

    def beat(self, now_ns: int) -> None:
        if self._fd < 0:
            return
        with faults(self._path, "write to"):
            if not self._disk.is_at(self._fd, self._path):
                # Another process has deleted it, or replaced its directory. Other members would
                # take this one for dead.
                self._disk.close(self._fd)
                self._fd = -1
                self._disk.mkdir(posixpath.dirname(self._path), inside=self._stream)
                self._take()
            self._disk.pwrite(self._fd, _BEAT.pack(now_ns), 0)

    def after_fork(self) -> None:
        """Close the parent's lease in the child, which must not keep it; see `Forkable`."""
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
    """A `FileGroup` is the shared state of one consumer group in `.groups/NAME`. Thread-safe."""

    def __init__(
        self, disk: Disk, stream: str, name: str, board: Board, config: StreamConfig
    ) -> None:
        self.name = name
        self._disk = disk
        self._stream = stream
        self._directory = f"{stream}/{layout.GROUPS}/{name}"
        self._states = f"{self._directory}/states"
        self._state_path = f"{self._directory}/state.json"
        self._board = board
        self._config = config
        self._mutex = threading.Lock()
        self._commit_fds: dict[TopicPartition, int] = {}
        self._known: tuple[int, GroupState] = (-1, GroupState())
        watch_forks(self)

    def after_fork(self) -> None:
        """Renew the mutex and close the files; see `Forkable`."""
        self._mutex = threading.Lock()
        self._close_files()

    def load(self) -> GroupState:
        """Return the agreed state: the one with the highest number."""
        with faults(self._directory, "read the state of the group in"):
            return self._load()[1]

    def _load(self) -> tuple[int, GroupState]:
        """Return the state's number, and the state."""
        while True:
            number = self._last_number()
            # The tuple is stored at once: threads may load while another one updates.
            known = self._known
            if number == known[0] and number >= 0:
                return known
            try:
                state = self._read(number)
            except FileNotFoundError:
                continue  # the next one was made, and this one was deleted
            if number >= 0:
                self._known = number, state
            return number, state

    def _last_number(self) -> int:
        """Return the highest number of a state, -1 without any state."""
        try:
            names = self._disk.list_directory(self._states)
        except FileNotFoundError:
            return -1
        return max((int(name) for name in names if name.isdigit()), default=-1)

    def _read(self, number: int) -> GroupState:
        path = self._state_path if number < 0 else self._path_of(number)
        try:
            return _decode(self._disk.read_file(path))
        except FileNotFoundError:
            if number >= 0 and not self._disk.exists(path):
                raise
        except msgspec.DecodeError:
            # A power loss may leave a damaged state. Its members died with the machine; the
            # committed offsets are in other files.
            pass
        return GroupState()

    def _path_of(self, number: int) -> str:
        return f"{self._states}/{number:020d}"

    def update(self, change: Callable[[GroupState], GroupState]) -> GroupState:
        """Replace the state by `change` of it, which must be pure: it may be called several times.

        Nothing is written, and no member is notified, when `change` returns its argument.
        """
        with faults(self._directory, "change the state of the group in"):
            after = self._update(change)
        if after is None:
            raise DiskFault(self._directory, "change", f"others were quicker {TRIES} times")
        return after

    def _update(self, change: Callable[[GroupState], GroupState]) -> GroupState | None:
        disk = self._disk
        disk.mkdir(self._states, inside=self._stream)
        for _ in range(TRIES):
            number, before = self._load()
            after = change(before)
            if after is before:
                return before
            if self._put(number + 1, after):
                self._known = number + 1, after
                self._delete_before(number + 1)
                self._board.changed()
                return after
            disk.give_way()
        return None

    def _put(self, number: int, state: GroupState) -> bool:
        """Store the state under this number; False when there is another one, or a later one."""
        disk, path = self._disk, self._path_of(number)
        scratch = f"{path}.{disk.new_name()}.tmp"
        try:
            fd = disk.open(scratch, write=True, create=True)
            try:
                disk.write_all(fd, _encode(state), 0)
            finally:
                disk.close(fd)
            disk.link(scratch, path)
        except FileExistsError:
            return False
        finally:
            with contextlib.suppress(OSError):
                disk.unlink(scratch)
        if self._last_number() > number:
            # This process was stopped for so long that others passed this number and deleted its
            # state.
            disk.unlink(path)
            return False
        return True

    def _delete_before(self, number: int) -> None:
        """Delete older states, but not the previous one, which processes may be about to read."""
        disk = self._disk
        for name in disk.list_directory(self._states):
            stem = name.partition(".")[0]
            if stem.isdigit() and int(stem) < number - 1:
                disk.remove_file(f"{self._states}/{name}")

    def lease(self, member: str) -> FileLease:
        with faults(self._directory, "join the group in"):
            self._disk.mkdir(f"{self._directory}/leases", inside=self._stream)
            self._clear_dead_leases()
            return FileLease(self._disk, self._stream, self._lease_path(member))

    def _clear_dead_leases(self) -> None:
        for name in self._disk.list_directory(f"{self._directory}/leases"):
            path = self._lease_path(name)
            # A member that leaves in this moment deletes its lease itself.
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
        """Commit offsets: see `GroupStore`.

        A member that is stopped between its check of the state and the write may set an offset back
        when it goes on: the records in between are then read twice.
        """
        with self._mutex, faults(self._directory, "commit in"):
            self._leave_deleted_files()
            state = self._load()[1]
            for place, (_, since) in offsets.items():
                held = state.owner_of(place)
                if held is None or held.owner != member or held.since != since:
                    raise Fenced(self.name, member, *place, state.generation)
            for place, (offset, _) in offsets.items():
                self._write_commit(place, offset)

    def _leave_deleted_files(self) -> None:
        """Close the files if the group was deleted, or its directory replaced by another."""
        disk, fds = self._disk, self._commit_fds
        if any(map(disk.is_unlinked, fds.values())) or any(
            not disk.is_at(fds[place], self._commit_path(place)) for place in [*fds][:1]
        ):
            self._close_files()

    def _write_commit(self, place: TopicPartition, offset: int) -> None:
        disk, fd = self._disk, self._commit_fds.get(place)
        if fd is None:
            if len(self._commit_fds) >= self._config.open_partitions_max:
                disk.close(self._commit_fds.pop(next(iter(self._commit_fds))))
            disk.mkdir(f"{self._directory}/offsets/{place.topic}", inside=self._stream)
            fd = disk.open(self._commit_path(place), write=True, create=True)
            self._commit_fds[place] = fd
        disk.write_all(fd, _COMMIT.pack(offset, crc32(offset.to_bytes(8, "little"))), 0)
        if self._config.fsync == "always":
            disk.fdatasync(fd)

    def _commit_path(self, place: TopicPartition) -> str:
        return f"{self._directory}/offsets/{place.topic}/{place.partition}"

    def committed_at(self, place: TopicPartition) -> int | None:
        """Return the committed offset; None when there is none, or a power loss has torn it."""
        path = self._commit_path(place)
        for _ in range(TORN_TRIES):
            try:
                with faults(path, "read"):
                    data = self._disk.read_file(path)
            except DiskFault:
                return None
            if len(data) >= _COMMIT.size:
                offset, check = _COMMIT.unpack_from(data)
                if check == crc32(data[:8]):
                    return None if offset == _FORGOTTEN else int(offset)
        return None

    def committed(self) -> dict[TopicPartition, int]:
        root = f"{self._directory}/offsets"
        found = {}
        with faults(root, "list"):
            for topic in self._names_in(root):
                for name in filter(str.isdigit, self._names_in(f"{root}/{topic}")):
                    place = TopicPartition(topic, int(name))
                    if (offset := self.committed_at(place)) is not None:
                        found[place] = offset
        return dict(sorted(found.items()))

    def _names_in(self, path: str) -> list[str]:
        try:
            return self._disk.list_directory(path)
        except FileNotFoundError:
            return []

    def set_committed(self, place: TopicPartition, offset: int | None) -> None:
        with self._mutex, faults(self._directory, "commit in"):
            self._leave_deleted_files()
            if offset is not None or self._disk.exists(self._commit_path(place)):
                self._write_commit(place, _FORGOTTEN if offset is None else offset)

    def close(self) -> None:
        with self._mutex:
            self._close_files()

    def _close_files(self) -> None:
        for fd in self._commit_fds.values():
            self._disk.close(fd)
        self._commit_fds = {}
