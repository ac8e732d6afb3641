"""The doorbell board: what is new and who waits for what, at the cost of a memory read.

One small file per stream, mapped by all: a version that changes whenever topics, partitions or
groups do, 64 ticks of which every commit changes one, a state byte for each of SLOTS readers (0, or
that it waits, and in which order it is rung), and for each a mask of the partitions that it waits
for. A reader that finds version and ticks as they were need not look at any of its partitions. A
writer looks at the state bytes after each commit (one memcmp) and rings only who waits for its
partition; under load nobody waits and nothing is rung.

Each waiting reader owns a FIFO, `.doorbells/SLOT`. Reader: say that you wait, look again, block.
Writer: publish, clear the state, ring. A ring that is lost all the same (its ringer was killed
between the two) costs the reader the backstop of its wait (`doorbell`).
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from functools import partial
from struct import Struct
from zlib import crc32

from rdv.errors import RdvError
from rdv.native import Native
from rdv.stream.backend import RING_ORDERS
from rdv.stream.errors import TooManyReaders
from rdv.stream.file import layout
from rdv.stream.file.disk import Disk, faults, os_fault, watch_forks
from rdv.stream.file.lock import locked

SLOTS = 1024
EVERYTHING = 2**64 - 1

TICKS = 64

_MAGIC = b"rdvbell3"
_VERSION = Struct("<Q")
_VERSION_AT = 8
_TICKS_AT = 16
_STATES_AT = _TICKS_AT + TICKS * _VERSION.size
_MASKS_AT = _STATES_AT + SLOTS
_SIZE = _MASKS_AT + SLOTS * _VERSION.size
_EMPTY = (_MAGIC + _VERSION.pack(1)).ljust(_SIZE, b"\0")
_IDLE = b"\x00"
_WAITING = {order: bytes([order]) for order in RING_ORDERS}
_NOBODY = _IDLE * SLOTS
_LOCK_TIMEOUT_MS = 10_000


def number_of(topic: str, partition: int) -> int:
    """The bit and the tick of a partition: two may share one, which means a look too many."""
    return crc32(f"{topic}/{partition}".encode()) % TICKS


def mask_of(topic: str, partition: int) -> int:
    """The bit of a partition in the masks of readers."""
    return 1 << number_of(topic, partition)


def tick_in_news(topic: str, partition: int) -> slice:
    """Where the partition's tick is in a board's `news`."""
    at = _TICKS_AT - _VERSION_AT + number_of(topic, partition) * _VERSION.size
    return slice(at, at + _VERSION.size)


def _is_board(data: bytes) -> bool:
    return len(data) == _SIZE and data.startswith(_MAGIC)


class Board:
    """A stream's board, mapped for reading; stores go through pwrite. Thread-safe."""

    def __init__(self, disk: Disk, stream: str) -> None:
        self._disk = disk
        self.directory = f"{stream}/{layout.DOORBELLS}"
        self._path = f"{self.directory}/board"
        self._mutex = threading.Lock()
        self._bells: dict[int, int] = {}
        with faults(self._path, "open"):
            if not disk.exists(self._path):
                self._make()
            elif not _is_board(disk.read_file(self._path)):
                # Of another version, or what a power loss may leave: nobody waits after one.
                disk.replace_file(self._path, _EMPTY)
            self._map = disk.map_file(self._path, size_bytes=_SIZE)
        self._fd = -1
        # A C call without a Python frame: producers and consumers ask at every send and poll.
        self.version: Callable[[], object] = partial(
            self._map.__getitem__, slice(_VERSION_AT, _TICKS_AT)
        )
        self.news: Callable[[], object] = partial(
            self._map.__getitem__, slice(_VERSION_AT, _STATES_AT)
        )
        self._salt = 0
        self._commits = itertools.count(1)
        self._make_salt()
        watch_forks(self)

    def _make(self) -> None:
        """Make the file, whole at once and only once, whoever else does so too."""
        disk = self._disk
        disk.mkdir(self.directory)
        scratch = f"{self._path}.{disk.new_name()}.tmp"
        disk.replace_file(scratch, _EMPTY)
        try:
            disk.link(scratch, self._path)
        except FileExistsError:
            pass
        finally:
            disk.unlink(scratch)

    def _make_salt(self) -> None:
        """So that no two processes ever leave the same tick behind."""
        self._salt = crc32(self._disk.new_name().encode()) << 32

    def _write_fd(self) -> int:
        if self._fd < 0:
            with faults(self._path, "write to"):
                self._fd = self._disk.open(self._path, write=True)
        return self._fd

    def announcer(self, topic: str, partition: int) -> Callable[[], None]:
        """A function that ticks, and rings who waits for this partition; called after every commit.

        It never fails: what it tells of is committed already, and whoever reads looks all the
        same now and then.
        """
        states: Callable[[], object] = partial(self._map.__getitem__, slice(_STATES_AT, _MASKS_AT))
        ring, bit = self._ring_waiting, mask_of(topic, partition)
        tick_at = _TICKS_AT + number_of(topic, partition) * _VERSION.size
        pwrite, pack, commits = self._disk.pwrite, _VERSION.pack, self._commits

        def announce() -> None:
            try:
                fd = self._fd if self._fd >= 0 else self._write_fd()
                pwrite(fd, pack(self._salt + next(commits)), tick_at)
            except (OSError, RdvError):
                pass
            if states() != _NOBODY:
                ring(bit)

        native = self._disk.native
        return announce if native is None else partial(self._announce, native, bit, tick_at)

    def _announce(self, native: Native, bit: int, tick_at: int) -> None:
        """The same, by one call for all that is usual."""
        try:
            with self._mutex:
                fd = self._fd if self._fd >= 0 else self._write_fd()
                tick = self._salt + next(self._commits)
                left = native.announce(
                    self._map, fd, _STATES_AT, _MASKS_AT, bit, self._bells, tick_at, tick
                )
        except (OSError, RdvError):
            left = None
        if left is None:
            self._ring_waiting(bit)
            return
        for slot in left:
            self._call(slot)

    def changed(self) -> None:
        """Topics, partitions or groups have changed: everybody shall look again."""
        fd = self._write_fd()
        with faults(self._path, "write to"), locked(self._disk, self._path, _LOCK_TIMEOUT_MS):
            (version,) = _VERSION.unpack(self._disk.pread(fd, _VERSION.size, _VERSION_AT))
            self._disk.pwrite(fd, _VERSION.pack((version + 1) % 2**64), _VERSION_AT)
        self._ring_waiting(EVERYTHING)

    def _ring_waiting(self, mask: int) -> None:
        """Ring who waits for `mask`, in their order. Never fails: what is announced is committed
        already.
        """
        board = self._map
        states = board[_STATES_AT:_MASKS_AT]
        for state in _WAITING.values():
            slot = -1
            while (slot := states.find(state, slot + 1)) >= 0:
                at = _MASKS_AT + slot * _VERSION.size
                if mask == EVERYTHING or _VERSION.unpack_from(board, at)[0] & mask:
                    self._call(slot)

    def _call(self, slot: int) -> None:
        try:
            with self._mutex:
                # Cleared first: a reader that waits anew in between is rung once too often, the
                # other way round it would be forgotten.
                self._disk.pwrite(self._write_fd(), _IDLE, _STATES_AT + slot)
                self._ring(slot)
        except (OSError, RdvError):
            pass

    def _ring(self, slot: int) -> None:
        """Ring a slot's FIFO; its reader may have died, or been followed by another."""
        disk, path = self._disk, f"{self.directory}/{slot}"
        fd = self._bells.get(slot)
        if fd is not None:
            try:
                disk.ring(fd)
            except OSError:
                disk.close(self._bells.pop(slot))
            else:
                return
        try:
            fd = disk.open_fifo_to_ring(path)
        except OSError as error:
            if disk.has_no_reader(error):
                self._bury(slot)
            return
        self._bells[slot] = fd
        disk.ring(fd)

    def _bury(self, slot: int) -> None:
        """Unlink a dead reader's FIFO, unless somebody is about to take the slot."""
        fd = self._disk.open(self._path, write=True)
        try:
            if self._disk.try_lock(fd) and not self._is_alive(slot):
                self._disk.unlink(f"{self.directory}/{slot}")
        finally:
            self._disk.close(fd)

    def _is_alive(self, slot: int) -> bool:
        try:
            self._disk.close(self._disk.open_fifo_to_ring(f"{self.directory}/{slot}"))
        except FileNotFoundError:
            return False
        except OSError as error:
            # Out of descriptors, say: that does not tell that it is dead.
            return not self._disk.has_no_reader(error)
        return True

    def take_slot(self) -> tuple[int, int]:
        """A free slot and the reading end of its FIFO. Raises TooManyReaders."""
        self._write_fd()
        with (
            faults(self.directory, "make a doorbell in"),
            locked(self._disk, self._path, _LOCK_TIMEOUT_MS),
        ):
            for slot in range(SLOTS):
                path = f"{self.directory}/{slot}"
                if self._disk.exists(path):
                    if self._is_alive(slot):
                        continue
                    self._disk.unlink(path)
                self._disk.make_fifo(path)
                return slot, self._disk.open_fifo_to_read(path)
        raise TooManyReaders(self.directory, SLOTS)

    def free_slot(self, slot: int, fd: int) -> None:
        with (
            contextlib.suppress(OSError, RdvError),
            locked(self._disk, self._path, _LOCK_TIMEOUT_MS),
        ):
            self._disk.pwrite(self._write_fd(), _IDLE, _STATES_AT + slot)
            self._disk.unlink(f"{self.directory}/{slot}")
        self._disk.close(fd)

    def set_waiting(self, slot: int, order: int) -> None:
        """`order`: one of RING_ORDERS."""
        position = _STATES_AT + slot
        if self._map[position] != order:
            try:
                self._disk.pwrite(self._write_fd(), _WAITING[order], position)
            except OSError as error:
                raise os_fault(error, self._path, "write to") from error

    def set_mask(self, slot: int, mask: int) -> None:
        with faults(self._path, "write to"):
            self._disk.pwrite(
                self._write_fd(), _VERSION.pack(mask), _MASKS_AT + slot * _VERSION.size
            )

    def is_waiting(self, slot: int) -> bool:
        """False once the slot has been rung."""
        return bool(self._map[_STATES_AT + slot])

    def after_fork(self) -> None:
        """See disk.Forkable."""
        self._mutex = threading.Lock()
        self._make_salt()
        self._close_files()

    def close(self) -> None:
        # An announcement is under way in another thread, or was when we were forked off: what is
        # mapped goes with the last who holds it.
        with contextlib.suppress(BufferError):
            self._map.close()
        self._close_files()

    def _close_files(self) -> None:
        for fd in (self._fd, *self._bells.values()):
            if fd >= 0:
                self._disk.close(fd)
        self._fd, self._bells = -1, {}
