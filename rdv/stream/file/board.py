"""The wake-up board shows what is new in a stream and which readers wait, at a memory read's cost.

It is one small file per stream, mapped by every process that uses the stream. It holds a version
that changes whenever topics, partitions or groups do; 64 ticks, one of which changes with every
commit; a state byte for each of SLOTS readers (0, or the reader's wake-up priority while it waits);
and for each reader a mask of the partitions that it waits for. A reader that finds version and
ticks unchanged need not look at any of its partitions. A writer looks at the state bytes after each
commit (one memcmp) and notifies only the readers that wait for its partition; under load no reader
waits and none is notified.

Each waiting reader owns a FIFO, `.doorbells/SLOT`. The reader sets its state, looks once more, then
blocks. The writer publishes, clears the state, then notifies. A wake-up that is lost all the same
(its writer was killed between the two) delays the reader by the longest wait (`waiter`).

Deleting, truncating or overwriting the board must not end any process. A map of a truncated file
reads as zeros (`native.guard`; without the extension the board is read by system calls), and every
process checks every 100 ms whether the file at its path is still a board, and still the one that it
has open. Otherwise the board is made anew, and every process opens it again.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import Any
from zlib import crc32

from rdv.coded import coded
from rdv.errors import RdvError
from rdv.native import Native
from rdv.stream.backend import WAKEUP_PRIORITIES
from rdv.stream.file import layout
from rdv.stream.file.slots import SLOTS, Slots
from rdv.system.disk import Disk, Map
from rdv.system.faults import faults, os_fault
from rdv.system.forks import watch_forks

log = logging.getLogger("rdv.stream")

EVERYTHING = 2**64 - 1

TICKS = 64

_MAGIC = b"rdvbell3"
_VERSION = Struct("<Q")
_VERSION_AT = 8
_TICKS_AT = 16
_STATES_AT = _TICKS_AT + TICKS * _VERSION.size
_MASKS_AT = _STATES_AT + SLOTS
_SIZE = _MASKS_AT + SLOTS * _VERSION.size
_IDLE = b"\x00"
_WAITING = {priority: bytes([priority]) for priority in WAKEUP_PRIORITIES}
_NONE_WAITING = _IDLE * SLOTS
_LOOK_NS = 100_000_000


def number_of(topic: str, partition: int) -> int:
    """Return the bit and tick number of a partition. Two may share one: a needless look."""
    return crc32(f"{topic}/{partition}".encode()) % TICKS


def mask_of(topic: str, partition: int) -> int:
    """Return the bit of a partition in the readers' masks."""
    return 1 << number_of(topic, partition)


def tick_in_news(topic: str, partition: int) -> slice:
    """Return where the partition's tick lies in a board's `news`."""
    at = _TICKS_AT - _VERSION_AT + number_of(topic, partition) * _VERSION.size
    return slice(at, at + _VERSION.size)


def _is_board(data: bytes) -> bool:
    return len(data) == _SIZE and data.startswith(_MAGIC)


class Board:
    """A `Board` is the board of one stream. Stores go through pwrite. Thread-safe."""

    def __init__(self, disk: Disk, stream: str) -> None:
        self._disk = disk
        self._stream = stream
        self.directory = f"{stream}/{layout.DOORBELLS}"
        self._path = f"{self.directory}/board"
        self._mutex = threading.Lock()
        self._slots = Slots(disk, self.directory, self._path)
        self._fifos = self._slots.fifos
        self.epoch = 0
        """The number of times that another file has become the board."""
        self._salt = 0
        self._commits = itertools.count(1)
        self._make_salt()
        self._look_ns = 0
        self._fd = -1
        with faults(self._path, "open"):
            self._settle()
            self._read_fd = disk.open(self._path)
            self._map = self._guarded_map()
        # Producers and consumers call these at every send and poll: on a map that is a C call
        # without a Python frame.
        self.version: Callable[[], object] = self._reading(_VERSION_AT, _TICKS_AT)
        self.news: Callable[[], object] = self._reading(_VERSION_AT, _STATES_AT)
        watch_forks(self)

    def _guarded_map(self) -> Map | None:
        """Return the guarded map, or None where a map of a truncated file would end the process."""
        native = self._disk.native
        if native is None:
            return None
        try:
            board = self._disk.map_file(self._path, size_bytes=_SIZE)
        except ValueError:  # truncated in this very moment
            return None
        if native.guard(board):
            return board
        board.close()
        return None

    def _reading(self, start: int, stop: int) -> Callable[[], Any]:
        """Return a function that reads this part of the board."""
        if self._map is not None:
            return partial(self._map.__getitem__, slice(start, stop))
        disk, size = self._disk, stop - start
        # What is beyond the end of a truncated board reads as zeros, too.
        return lambda: disk.pread(self._read_fd, size, start).ljust(size, b"\0")

    def _settle(self) -> None:
        """Make sure that there is a board at the path."""
        disk = self._disk
        if not disk.is_file(self._path):
            if disk.exists(self._path):
                disk.set_aside(self._path)
            self._make()
        elif not _is_board(disk.read_file(self._path)):
            # It is of another version, was overwritten, or is what a power loss left behind.
            text = "%s is no board of this version: it is made anew"
            log.warning(text, self._path, extra=coded("board_rewritten"))
            disk.rename(self._write_scratch(), self._path)

    def _write_scratch(self) -> str:
        """Write a new board under a temporary name. No two boards begin with the same version."""
        disk = self._disk
        scratch = f"{self._path}.{disk.new_name()}.tmp"
        disk.replace_file(scratch, (_MAGIC + self._new_number()).ljust(_SIZE, b"\0"))
        disk.let_wait(scratch)
        return scratch

    def _new_number(self) -> bytes:
        """Return a number that was never on the board."""
        return _VERSION.pack(self._salt + next(self._commits))

    def look_after(self) -> None:
        """Check every 100 ms that the board's file is in use; readers and writers call this.

        Raises nothing. Without permission to make the board anew it is left as it is: readers look
        at the log periodically all the same.
        """
        now_ns = self._disk.monotonic_ns()
        if now_ns < self._look_ns:
            return
        self._look_ns = now_ns + _LOOK_NS
        disk = self._disk
        with contextlib.suppress(OSError, RdvError), self._mutex:
            fd = self._read_fd
            if (
                disk.is_at(fd, self._path)
                and disk.size(fd) == _SIZE
                and disk.pread(fd, len(_MAGIC), 0) == _MAGIC
            ):
                return
            self._open_again()

    def _open_again(self) -> None:
        disk, native = self._disk, self._disk.native
        self._settle()
        fd = disk.open(self._path, write=True)
        try:
            # The descriptor numbers stay: other threads may be about to use them.
            disk.dup2(fd, self._read_fd)
            if self._fd >= 0:
                disk.dup2(fd, self._fd)
            if self._map is not None and native is not None:
                native.remap(self._map, fd)
        finally:
            disk.close(fd)
        self.epoch += 1

    def _make(self) -> None:
        """Make the file, complete at once and only once, even if other processes do so too."""
        disk = self._disk
        disk.mkdir(self.directory, inside=self._stream)
        disk.let_wait(self.directory)
        scratch = self._write_scratch()
        try:
            disk.link(scratch, self._path)
        except FileExistsError:
            pass
        finally:
            disk.unlink(scratch)

    def _make_salt(self) -> None:
        """Choose a salt, so that no two processes ever leave the same tick behind."""
        self._salt = crc32(self._disk.new_name().encode()) << 32

    def _write_fd(self) -> int:
        if self._fd < 0:
            with faults(self._path, "write to"):
                try:
                    self._fd = self._disk.open(self._path, write=True)
                except FileNotFoundError:
                    self._settle()
                    self._fd = self._disk.open(self._path, write=True)
        return self._fd

    def announcer(self, topic: str, partition: int) -> Callable[[int], None]:
        """Return the function that announces a commit: it ticks and notifies waiting readers.

        It is called with the monotonic time, perhaps of a moment before. It never fails: the
        records are already committed, and readers look periodically all the same.
        """
        states = self._reading(_STATES_AT, _MASKS_AT)
        notify, bit = self._notify_waiting, mask_of(topic, partition)
        tick_at = _TICKS_AT + number_of(topic, partition) * _VERSION.size
        pwrite, pack, commits = self._disk.pwrite, _VERSION.pack, self._commits

        def announce(now_ns: int) -> None:
            if now_ns >= self._look_ns:
                self.look_after()
            try:
                fd = self._fd if self._fd >= 0 else self._write_fd()
                pwrite(fd, pack(self._salt + next(commits)), tick_at)
            except (OSError, RdvError):
                pass
            if states() != _NONE_WAITING:
                notify(bit)

        native, board = self._disk.native, self._map
        if native is None or board is None:
            return announce
        return partial(self._announce, native, board, bit, tick_at)

    def _announce(self, native: Native, board: Map, bit: int, tick_at: int, now_ns: int) -> None:
        """Do the same as `announcer`'s function, with one native call for the usual case."""
        if now_ns >= self._look_ns:
            self.look_after()
        try:
            with self._mutex:
                fd = self._fd if self._fd >= 0 else self._write_fd()
                tick = self._salt + next(self._commits)
                left = native.announce(
                    board, fd, _STATES_AT, _MASKS_AT, bit, self._fifos, tick_at, tick
                )
        except (OSError, RdvError):
            left = None
        if left is None:
            self._notify_waiting(bit)
            return
        for slot in left:
            self._notify(slot)

    def changed(self) -> None:
        """Publish that topics, partitions or groups have changed: all processes look again."""
        with faults(self._path, "write to"):
            self._disk.pwrite(self._write_fd(), self._new_number(), _VERSION_AT)
        self._notify_waiting(EVERYTHING)

    def _notify_waiting(self, mask: int) -> None:
        """Notify the readers that wait for `mask`, in the order of their priorities.

        Never fails: what is announced is already committed.
        """
        board = self._reading(0, _SIZE)()
        states = board[_STATES_AT:_MASKS_AT]
        for state in _WAITING.values():
            slot = -1
            while (slot := states.find(state, slot + 1)) >= 0:
                at = _MASKS_AT + slot * _VERSION.size
                if mask == EVERYTHING or _VERSION.unpack_from(board, at)[0] & mask:
                    self._notify(slot)

    def _notify(self, slot: int) -> None:
        try:
            with self._mutex:
                # The state is cleared first: a reader that waits anew in between is notified once
                # too often; in the other order it would be forgotten.
                self._disk.pwrite(self._write_fd(), _IDLE, _STATES_AT + slot)
                self._slots.notify(slot)
        except (OSError, RdvError):
            pass

    def take_slot(self) -> tuple[int, int]:
        """Return a free slot and the reading end of its FIFO. Raises TooManyReaders."""
        self._write_fd()
        return self._slots.take()

    def free_slot(self, slot: int, fd: int) -> None:
        """Close a slot's FIFO, and give the slot to other readers."""
        with contextlib.suppress(OSError, RdvError):
            if self._slots.is_ours(slot, fd):
                self._disk.pwrite(self._write_fd(), _IDLE, _STATES_AT + slot)
                self._slots.free(slot)
        self._disk.close(fd)

    def is_ours(self, slot: int, fd: int) -> bool:
        """Return whether writers still find this FIFO; it may have been deleted."""
        return self._slots.is_ours(slot, fd)

    def set_waiting(self, slot: int, priority: int) -> None:
        """Mark the slot as waiting. `priority` is one of WAKEUP_PRIORITIES."""
        position = _STATES_AT + slot
        if self._byte(position) != priority:
            try:
                self._disk.pwrite(self._write_fd(), _WAITING[priority], position)
            except OSError as error:
                raise os_fault(error, self._path, "write to") from error

    def set_mask(self, slot: int, mask: int) -> None:
        with faults(self._path, "write to"):
            self._disk.pwrite(
                self._write_fd(), _VERSION.pack(mask), _MASKS_AT + slot * _VERSION.size
            )

    def is_waiting(self, slot: int) -> bool:
        """Return whether the slot still waits: false once it has been notified."""
        return bool(self._byte(_STATES_AT + slot))

    def _byte(self, position: int) -> int:
        board = self._map
        if board is not None:
            return board[position]
        return (self._disk.pread(self._read_fd, 1, position) or b"\0")[0]

    def has_mask(self, slot: int, mask: int) -> bool:
        """Return whether the board says that this slot waits for `mask`."""
        at = _MASKS_AT + slot * _VERSION.size
        return bool(self._reading(at, at + _VERSION.size)() == _VERSION.pack(mask))

    def after_fork(self) -> None:
        """Renew the mutex and the salt, and close the files; see `Forkable`."""
        self._mutex = threading.Lock()
        self._make_salt()
        self._close_files()

    def close(self) -> None:
        # An announcement may be under way in another thread, or was when this process was forked
        # off: the memory is unmapped with its last reference.
        if self._map is not None and self._disk.native is not None:
            with contextlib.suppress(BufferError, ValueError):
                self._disk.native.unguard(self._map)
                self._map.close()
        if self._read_fd >= 0:
            self._disk.close(self._read_fd)
            self._read_fd = -1
        self._close_files()

    def _close_files(self) -> None:
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1
        self._slots.close()
