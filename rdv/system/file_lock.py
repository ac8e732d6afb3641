"""A `FileLock` is flock with a bounded wait. The kernel releases it when its holder is killed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from rdv.system.disk import Disk
from rdv.system.faults import LockTimeout

SPINS = 100
"""The maximum number of attempts, with a yield after each, before going to sleep: a holder is done
within microseconds. With four writers on two cores this raised the total from 64 % to 70-100 % of a
single writer's."""


class FileLock:
    """A `FileLock` bounds the wait of one process; its owner lets one thread at a time in.

    The kernel has no flock with a timeout, and polling for one would be unfair and slow. So a
    helper thread does a wait that is not over at once, and releases the lock if the caller has
    given up.
    """

    def __init__(self, disk: Disk, fd: int) -> None:
        self._disk = disk
        self.fd = fd
        self._mutex = threading.Lock()
        self._taken: threading.Event | None = None
        self.is_contended = False
        """Whether a helper waits for the lock, or already has it (`acquire` can tell)."""
        self._wanted = False

    def acquire(self, timeout_s: float) -> bool:
        """Take the lock. Returns False when another process has held it for all of `timeout_s`.

        With a timeout of 0 no thread is started. Raises OSError when there is no descriptor left to
        wait with.
        """
        # While no helper runs, no other thread touches `_taken`: the fast path needs no mutex.
        if self._taken is None:
            for _ in range(SPINS):
                if self._disk.try_lock(self.fd):
                    return True
                self._disk.give_way()
        if timeout_s <= 0:
            return False
        with self._mutex:
            taken = self._taken or self._start_helper()
            self._wanted = True
        try:
            taken.wait(timeout_s)
        except BaseException:
            # Ctrl-C: the helper must not take a lock that no thread would release.
            if self._settle(taken):
                self.release()
            raise
        return self._settle(taken)

    def _settle(self, taken: threading.Event) -> bool:
        """End the caller's wait. Returns True when the lock has been taken by now."""
        with self._mutex:
            self._wanted = False
            if taken.is_set():
                self._taken, self.is_contended = None, False
                return True
            return False

    def _start_helper(self) -> threading.Event:
        taken = threading.Event()
        # The helper has its own descriptor of the same open file, hence the same lock: the lock's
        # owner may close its own at any time.
        helper_fd = self._disk.dup_private(self.fd)
        threading.Thread(target=self._wait, args=(taken, helper_fd), daemon=True).start()
        self._taken, self.is_contended = taken, True
        return taken

    def release(self) -> None:
        self._disk.unlock(self.fd)

    def _wait(self, taken: threading.Event, fd: int) -> None:
        try:
            self._disk.wait_for_lock(fd)
            with self._mutex:
                if self._wanted:
                    taken.set()
                else:
                    self._disk.unlock(fd)
                    self._taken, self.is_contended = None, False
        finally:
            self._disk.close_private(fd)


def wait_for_deleted(disk: Disk, path: str, timeout_ms: int) -> None:
    """Wait for processes that hold the lock of a file that has been deleted from `path`.

    Called under the lock of the file that is at `path` now: a process that takes the lock of a
    deleted file from now on sees that it has no name, and changes nothing. Waits at most
    `timeout_ms` for each process, as one of them may be stopped. Raises OSError.
    """
    for fd in disk.open_deleted(path):
        try:
            lock = FileLock(disk, fd)
            if lock.acquire(timeout_ms / 1000):
                lock.release()
        finally:
            disk.close(fd)


@contextlib.contextmanager
def locked(disk: Disk, path: str, timeout_ms: int) -> Iterator[int]:
    """Hold the flock of the file at `path` (made when missing) for a block; yields its descriptor.

    A file that was deleted or replaced during the wait excludes no other process: then the new one
    is locked. With a timeout of 0 it does not wait. Raises LockTimeout, and OSError when the file
    cannot be opened.
    """
    is_held = False
    while not is_held:
        fd = disk.keep_private(disk.open(path, write=True, create=True))
        try:
            lock = FileLock(disk, fd)
            if not lock.acquire(timeout_ms / 1000):
                holder = disk.lock_holder(fd) if timeout_ms else "another process"
                raise LockTimeout(path, timeout_ms, holder)
            try:
                is_held = disk.is_at(fd, path)
                if is_held:
                    yield fd
            finally:
                lock.release()
        finally:
            disk.close_private(fd)
