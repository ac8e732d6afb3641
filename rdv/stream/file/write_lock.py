"""A `LockedFiles` opens a partition's files for writing, under a lock that is still at its path.

Files that were moved away or deleted are noticed, and what was in them is put back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rdv.clock import Clock
from rdv.errors import RdvError
from rdv.stream.config import StreamConfig
from rdv.stream.errors import LockTimeout, TopicNotFound, WouldWait
from rdv.stream.file import layout
from rdv.stream.file.last_segment import LockDeleted
from rdv.stream.file.lock import LOOK_NS, take_over
from rdv.stream.file.recovery import recover
from rdv.stream.file.rescue import OpenSegment
from rdv.stream.file.tail import Tail
from rdv.system.disk import Disk
from rdv.system.faults import faults, os_fault
from rdv.system.file_lock import FileLock

OLD_LOCK_MS = 1_000
"""The maximum wait for the lock of files that were moved away, in milliseconds."""
SAVE_MS = 1_000
"""The maximum wait for the lock at closing, in milliseconds, when deleted files can be put back."""


class _Left(NamedTuple):
    """A `_Left` holds what a writer had open when other files came to be at its path."""

    segment: OpenSegment
    lock_fd: int
    topic_id: bytes


class LockedFiles:
    """A `LockedFiles` has the lock and the last segment of one partition. Not thread-safe.

    `recovered` is called with the new end when a recovery has cut the partition. Raises
    SystemFaults, LockTimeout, WouldWait and TopicNotFound.
    """

    def __init__(
        self,
        disk: Disk,
        directory: str,
        config: StreamConfig,
        clock: Clock,
        recovered: Callable[[int], None],
    ) -> None:
        self.directory = directory
        self._disk = disk
        self._clock = clock
        self._recovered = recovered
        self._look_ns = 0
        self._lock_path = f"{directory}/{layout.LOCK_FILE}"
        self._lock: FileLock | None = None
        self._tail = Tail(disk, directory, config, clock)
        self._boot = b""
        self._left: _Left | None = None
        self._topic_id = b""

    def _look_after_files(self, lock: FileLock) -> FileLock | None:
        """Check the files; None when the lock's path has another: open everything again."""
        self._look_ns = self._clock.monotonic_ns() + LOOK_NS
        if self._disk.is_at(lock.fd, self._lock_path):
            self._tail.look_after_files()
            return lock
        self._leave_files()
        return None

    def _leave_files(self) -> None:
        """Keep our segment until it is put back: another file is at the lock's path, or none."""
        lock = self._lock
        if self._left is None and lock is not None and self._tail.index_fd >= 0:
            segment, lock_fd = self._tail.open_segment(), self._disk.dup_private(lock.fd)
            self._left = _Left(segment, lock_fd, self._topic_id)
        self._close_files()

    @contextlib.contextmanager
    def _left_segment(self, timeout_ms: int) -> Iterator[OpenSegment | None]:
        """Yield the left segment under its lock, to be put back; None when there is none."""
        if self._left is None or self._left.topic_id != self._read_topic_id():
            yield None  # the topic was deleted, and made anew
        else:
            old = FileLock(self._disk, self._left.lock_fd)
            # A process in the middle of an append holds it, and is done at once. A stopped process
            # cannot be waited for.
            is_ours = old.acquire(min(timeout_ms, OLD_LOCK_MS) / 1000)
            try:
                yield self._left.segment
            finally:
                if is_ours:
                    old.release()
        self._forget_left()

    def _forget_left(self) -> None:
        if self._left is not None:
            self._left.segment.close()
            self._disk.close_private(self._left.lock_fd)
            self._left = None

    def _read_topic_id(self) -> bytes:
        topic = self.directory.rsplit("/", 1)[0]
        try:
            return self._disk.read_file(f"{topic}/{layout.IDENTITY_FILE}")
        except FileNotFoundError:
            return b""

    def _acquire_current(self, timeout_ms: int) -> tuple[FileLock, bool]:
        """Take the lock. A deleted file excludes no other process: then take the new one.

        Returns the lock, and whether the files had to be opened anew.
        """
        is_anew = False
        lock = self._lock
        while True:
            if lock is None:
                lock, is_anew = self._open(timeout_ms), True
            self._acquire(lock, timeout_ms)
            if self._disk.is_at(lock.fd, self._lock_path):
                return lock, is_anew
            lock.release()
            self._leave_files()
            lock = None

    def _acquire(self, lock: FileLock, timeout_ms: int) -> None:
        try:
            is_ours = lock.acquire(timeout_ms / 1000)
        except OSError as error:
            raise os_fault(error, self.directory, "wait for the lock of") from error
        if not is_ours:
            raise self._not_ours(
                timeout_ms, self._disk.lock_holder(lock.fd) if timeout_ms else "another process"
            )

    def _not_ours(self, timeout_ms: int, holder: str) -> RdvError:
        if timeout_ms:
            return LockTimeout(self._lock_path, timeout_ms, holder)
        return WouldWait(self.directory, f"{holder} holds its lock")

    def _open(self, timeout_ms: int) -> FileLock:
        if not timeout_ms:
            raise WouldWait(self.directory, "its files are to be opened first")
        disk, lock = self._disk, None
        while lock is None:
            try:
                fd = disk.open(self._lock_path, write=True, create=True)
            except FileNotFoundError:
                self._make_directory()
                continue
            except OSError as error:
                raise os_fault(error, self.directory, "open") from error
            try:
                lock = self._open_with(FileLock(disk, fd), timeout_ms)
            except LockDeleted:
                lock = None
            except OSError as error:
                disk.close(fd)
                raise os_fault(error, self.directory, "open") from error
            except BaseException:
                disk.close(fd)
                raise
            if lock is None:
                disk.close(fd)
        self._look_ns = self._clock.monotonic_ns() + LOOK_NS
        self._lock = lock
        return lock

    def _make_directory(self) -> None:
        """Make the partition's directory, which has been deleted. Raises TopicNotFound."""
        stream, topic, _ = self.directory.rsplit("/", 2)
        if not self._disk.exists(f"{stream}/{topic}/{layout.IDENTITY_FILE}"):
            self._forget_left()
            raise TopicNotFound(stream, topic)
        with faults(self.directory, "make"), contextlib.suppress(FileNotFoundError):
            self._disk.mkdir(self.directory, inside=f"{stream}/{topic}")

    def _open_with(self, lock: FileLock, timeout_ms: int) -> FileLock | None:
        """Open the tail; None when the lock's file was deleted or replaced during the wait."""
        self._acquire(lock, timeout_ms)
        try:
            if not self._disk.is_at(lock.fd, self._lock_path):
                return None
            take_over(self._disk, self.directory, lock.fd, min(timeout_ms, OLD_LOCK_MS))
            self._open_locked(lock, timeout_ms)
        finally:
            lock.release()
        return lock

    def _open_locked(self, lock: FileLock, timeout_ms: int) -> None:
        with self._left_segment(timeout_ms) as left:
            again = [] if left is None else left.put_back(self.directory)
            outcome = recover(self._disk, self.directory, lock.fd)
            self._boot = outcome.boot
            if outcome.end is not None:
                self._recovered(outcome.end)
            self._tail.open(lock.fd, outcome.boot)
            self._topic_id = self._read_topic_id()
            if left is not None and again:
                self._tail.append_again(again)
                left.leave()

    def _save_files(self) -> None:
        """Put deleted files back before closing, if the lock can be had soon."""
        lock, disk = self._lock, self._disk
        if lock is not None and (
            self._tail.has_lost_a_file() or not disk.is_at(lock.fd, self._lock_path)
        ):
            with contextlib.suppress(RdvError, OSError):
                lock, _ = self._acquire_current(SAVE_MS)
                try:
                    self._tail.catch_up()
                finally:
                    disk.unlock(lock.fd)

    def _close_files(self) -> None:
        if self._lock is not None:
            self._disk.close(self._lock.fd)
            self._lock = None
        self._tail.close()
