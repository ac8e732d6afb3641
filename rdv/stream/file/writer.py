"""A `PartitionWriter` appends to one partition that other processes append to as well.

The protocol (FORMAT.md): take the partition's flock, find the end from the last index entry, write
the values, write the index entries, unlock, notify the waiting readers. The index entry is the
commit.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rdv.clock import Clock
from rdv.errors import RdvError
from rdv.native import Native
from rdv.stream.config import StreamConfig
from rdv.stream.errors import LockTimeout, SyncFailed, TopicNotFound, WouldWait
from rdv.stream.file import layout
from rdv.stream.file.checkpoint import Checkpoint, pack_checkpoint
from rdv.stream.file.lock import LOOK_NS, take_over
from rdv.stream.file.recovery import recover
from rdv.stream.file.rescue import OpenSegment
from rdv.stream.file.tail import LockDeleted, Tail
from rdv.system.disk import Disk
from rdv.system.faults import faults, os_fault
from rdv.system.file_lock import FileLock
from rdv.system.forks import watch_forks

OLD_LOCK_MS = 1_000
"""The maximum wait for the lock of files that were moved away, in milliseconds."""
SAVE_MS = 1_000
"""The maximum wait for the lock at closing, in milliseconds, when deleted files can be put back."""


class _Left(NamedTuple):
    """A `_Left` holds what a writer had open when other files came to be at its path."""

    segment: OpenSegment
    lock_fd: int
    topic_id: bytes


class PartitionWriter:
    """A `PartitionWriter` is the write side of one partition.

    Thread-safe; other processes have their own. Files are opened at the first append and whenever
    they are needed again after `release`. `announce` is called after every commit, with no lock
    held; `opened` whenever files have been opened; `recovered` with the new end when a recovery has
    cut the partition.
    """

    def __init__(
        self,
        disk: Disk,
        directory: str,
        config: StreamConfig,
        clock: Clock,
        *,
        announce: Callable[[], None],
        opened: Callable[[PartitionWriter], None],
        recovered: Callable[[int], None],
    ) -> None:
        self.directory = directory
        self._disk = disk
        self._native = disk.native
        self._config = config
        self._clock = clock
        self._look_ns = 0
        self._lock_path = f"{directory}/{layout.LOCK_FILE}"
        self._announce = announce
        self._opened = opened
        self._recovered = recovered
        self._mutex = threading.Lock()
        self._syncing = threading.Lock()
        self._lock: FileLock | None = None
        self._tail = Tail(disk, directory, config, clock)
        self._boot = b""
        self._sync_error: SyncFailed | None = None
        self._is_dirty = self._must_seal = False
        self._left: _Left | None = None
        self._topic_id = b""
        watch_forks(self)

    def append(self, values: Sequence[bytes], wait_ms: int | None = None) -> int:
        """Append all `values` as one batch; returns the offset of the first.

        Returns once they are committed (and durable, with fsync = "always"). Waits at most
        `wait_ms` for a lock that another process holds (None: the stream's `lock_timeout_ms`; 0:
        not at all, nor for files to be opened or a segment to be sealed). Raises WouldWait,
        DiskFull, SyncFailed, LockTimeout and other SystemFaults; the batch is then not
        acknowledged, and a part of it may be committed (send it again: at least once).
        """
        timeout_ms = self._config.lock_timeout_ms if wait_ms is None else wait_ms
        has_opened, offset = False, -1
        mutex = self._mutex
        # Without a limit of its own a thread waits for the other threads of this process.
        if not mutex.acquire(wait_ms is None) and not (
            wait_ms and mutex.acquire(timeout=wait_ms / 1000)
        ):
            raise self._not_ours(timeout_ms, "another thread")
        try:
            lock = self._lock
            if lock is not None and self._clock.monotonic_ns() >= self._look_ns:
                lock = self._look_after_files(lock)
            if lock is None:
                lock = self._open(timeout_ms)
                has_opened = True
            if self._native is not None and self._sync_error is None and not lock.is_contended:
                offset = self._append_natively(self._native, values)
            while offset < 0:
                try:
                    offset, is_anew = self._append_locked(values, timeout_ms)
                except LockDeleted:
                    self._leave_files()
                    continue
                has_opened = has_opened or is_anew
        finally:
            mutex.release()
        if has_opened:
            # Called with no mutex held: it may release other writers.
            self._opened(self)
        self._announce()
        return offset

    def _append_natively(self, native: Native, values: Sequence[bytes]) -> int:
        """Append in one native call; see `Tail.append_natively`."""
        try:
            offset = self._tail.append_natively(native, values)
        except OSError as error:
            self._tail.forget()
            raise os_fault(error, self.directory, "append to") from error
        except BaseException:
            self._tail.forget()
            raise
        self._is_dirty = self._is_dirty or offset >= 0
        return offset

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

    def _append_locked(self, values: Sequence[bytes], timeout_ms: int) -> tuple[int, bool]:
        """Append; returns the offset, and whether the files have been opened anew."""
        failed, offset = None, -1
        lock, is_anew = self._acquire_current(timeout_ms)
        try:
            if self._sync_error is not None:
                failed = self._settle_failed_sync()
            else:
                offset = self._tail.append(values, may_roll=timeout_ms > 0)
                self._is_dirty = True
        except (WouldWait, LockDeleted):
            raise
        except OSError as error:
            self._tail.forget()
            with contextlib.suppress(OSError):
                self._tail.catch_up()
            raise os_fault(error, self.directory, "append to") from error
        except SyncFailed:
            self._tail.leave_unsynced()
            raise
        except BaseException:
            self._tail.forget()
            raise
        finally:
            self._disk.unlock(lock.fd)
        if failed is not None:
            raise failed
        return offset, is_anew

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

    def sync(self, wait_s: float = -1) -> None:
        """Make written records durable; used by fsync = "interval". Never blocks senders.

        Waits at most `wait_s` (-1: without limit) for a sender that itself waits for the
        partition's lock; then nothing is synced. A failure is raised by the next append.
        """
        with self._syncing:
            self._sync(wait_s)

    def _sync(self, wait_s: float) -> None:
        disk, fds = self._disk, list[int]()
        if not self._mutex.acquire(timeout=wait_s):
            return
        try:
            try:
                synced = self._begin_sync(fds)
            finally:
                self._mutex.release()
            if synced is not None:
                disk.fdatasync(fds[0])
                disk.fdatasync(fds[1])
                disk.write_all(fds[2], pack_checkpoint(Checkpoint(self._boot, synced)), 0)
        except OSError as error:
            self._give_up_segment(SyncFailed(self.directory, error.strerror or str(error)))
        finally:
            for fd in fds:
                disk.close_private(fd)

    def _give_up_segment(self, failed: SyncFailed) -> None:
        """Seal the segment as soon as the partition's lock is free: no process must go on in it.

        The next append raises `failed`.
        """
        with self._mutex:
            self._sync_error, self._must_seal = failed, True
            self._seal_unsynced()

    def _seal_unsynced(self) -> None:
        """Seal without waiting for the lock: senders must not wait for the mutex, held here."""
        if self._lock is None:
            return
        with contextlib.suppress(RdvError):
            self._acquire(self._lock, 0)
            try:
                self._settle_unsynced()
            finally:
                self._lock.release()

    def _settle_failed_sync(self) -> SyncFailed | None:
        """Return the error of a failed sync and clear it; under the partition's lock."""
        error, self._sync_error = self._sync_error, None
        self._settle_unsynced()
        return error

    def _settle_unsynced(self) -> None:
        if self._must_seal:
            self._tail.leave_unsynced()
            self._must_seal = False

    def _begin_sync(self, fds: list[int]) -> int | None:
        """Duplicate the descriptors, as senders may roll or close; returns the end to sync."""
        if self._must_seal:
            self._seal_unsynced()
        if self._lock is None or not self._is_dirty or self._sync_error is not None:
            return None
        ours = (self._tail.values_fd, self._tail.index_fd, self._lock.fd)
        for fd in ours:
            fds.append(self._disk.dup_private(fd))  # noqa: PERF401  the first may be the last
        self._is_dirty = False
        return self._tail.next_offset

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

    def release(self) -> None:
        """Close the files, unless an append is under way; the next append opens them again."""
        if self._config.fsync == "interval":
            self.sync()
        if self._mutex.acquire(blocking=False):
            try:
                # A batch that was sent in this very moment must be synced first: the files stay
                # open.
                if not (self._is_dirty and self._config.fsync == "interval"):
                    self._save_files()
                    self._tail.mark_end()
                    self._close_files()
            finally:
                self._mutex.release()

    def close(self) -> None:
        """Sync when the policy asks for it, and close. Raises SyncFailed."""
        if self._config.fsync == "interval":
            self.sync()
        with self._mutex:
            self._save_files()
            self._tail.mark_end()
            self._close_files()
            self._forget_left()
            error, self._sync_error = self._sync_error, None
        if error is not None:
            raise error

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

    def after_fork(self) -> None:
        """Close the parent's files, see `Forkable`: the child's next append opens its own."""
        self._mutex = threading.Lock()
        self._syncing = threading.Lock()
        self._sync_error, self._is_dirty, self._must_seal = None, False, False
        self._close_files()
        self._forget_left()

    def _close_files(self) -> None:
        if self._lock is not None:
            self._disk.close(self._lock.fd)
            self._lock = None
        self._tail.close()
