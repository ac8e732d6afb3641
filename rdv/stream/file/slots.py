"""Each waiting reader has a slot with a FIFO, `.doorbells/SLOT`, through which writers wake it."""

from __future__ import annotations

import contextlib

from rdv.stream.errors import LockTimeout, TooManyReaders
from rdv.system.disk import Disk
from rdv.system.faults import faults
from rdv.system.file_lock import locked

SLOTS = 1024
_LOCK_TIMEOUT_MS = 50
"""The lock only keeps two processes from cleaning up after the same dead reader."""


class Slots:
    """A `Slots` has the slots of a stream: readers take them, writers notify them.

    Its caller's mutex guards `notify` and `fifos`; the file of the board is also the lock for
    taking the slot of a dead reader.
    """

    def __init__(self, disk: Disk, directory: str, board_path: str) -> None:
        self._disk = disk
        self.directory = directory
        self._board_path = board_path
        self.fifos: dict[int, int] = {}
        """The writing ends of the FIFOs that are open, by slot."""

    def take(self) -> tuple[int, int]:
        """Return a free slot and the reading end of its FIFO. Raises TooManyReaders."""
        with faults(self.directory, "make a FIFO in"):
            try:
                with locked(self._disk, self._board_path, _LOCK_TIMEOUT_MS):
                    found = self._find(may_clean=True)
            except LockTimeout:
                found = self._find(may_clean=False)
        if found is None:
            raise TooManyReaders(self.directory, SLOTS)
        return found

    def _find(self, *, may_clean: bool) -> tuple[int, int] | None:
        """Find the first free slot. To take one that a dead reader has left needs the lock."""
        disk = self._disk
        for slot in range(SLOTS):
            path = f"{self.directory}/{slot}"
            if disk.exists(path):
                if not may_clean or self._is_alive(slot):
                    continue
                disk.unlink(path)
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                disk.make_fifo(path)
                fd = disk.open_fifo_to_read(path)
                if disk.is_at(fd, path):
                    return slot, fd
                disk.close(fd)  # another process took it for that of a dead reader
        return None

    def free(self, slot: int) -> None:
        """Let other readers take the slot. Raises OSError."""
        self._disk.unlink(f"{self.directory}/{slot}")

    def is_ours(self, slot: int, fd: int) -> bool:
        """Return whether writers still find this FIFO; it may have been deleted."""
        return self._disk.is_at(fd, f"{self.directory}/{slot}")

    def notify(self, slot: int) -> None:
        """Notify a slot's reader, which may have died or have been replaced. Raises OSError."""
        disk, path = self._disk, f"{self.directory}/{slot}"
        fd = self.fifos.get(slot)
        if fd is not None:
            try:
                disk.notify(fd)
            except OSError:
                disk.close(self.fifos.pop(slot))
            else:
                return
        try:
            fd = disk.open_fifo_to_notify(path)
        except OSError as error:
            if disk.has_no_reader(error):
                self._remove_dead(slot)
            return
        self.fifos[slot] = fd
        disk.notify(fd)

    def _remove_dead(self, slot: int) -> None:
        """Unlink a dead reader's FIFO, unless another process is about to take the slot."""
        fd = self._disk.open(self._board_path, write=True)
        try:
            if self._disk.try_lock(fd) and not self._is_alive(slot):
                self._disk.unlink(f"{self.directory}/{slot}")
        finally:
            self._disk.close(fd)

    def _is_alive(self, slot: int) -> bool:
        try:
            self._disk.close(self._disk.open_fifo_to_notify(f"{self.directory}/{slot}"))
        except FileNotFoundError:
            return False
        except OSError as error:
            # Running out of descriptors, for instance, does not mean that the reader is dead.
            return not self._disk.has_no_reader(error)
        return True

    def close(self) -> None:
        """Close the writing ends."""
        for fd in tuple(self.fifos.values()):
            self._disk.close(fd)
        self.fifos.clear()
