"""A `PartitionWriter` appends to one partition that other processes append to as well.

The protocol (FORMAT.md): take the partition's flock, find the end from the last index entry, write
the values, write the index entries, unlock, notify the waiting readers. The index entry is the
commit.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from rdv.clock import Clock
from rdv.errors import RdvError
from rdv.stream.config import StreamConfig
from rdv.stream.errors import SyncFailed, WouldWait
from rdv.stream.file.checkpoint import Checkpoint, pack_checkpoint
from rdv.stream.file.last_segment import LockDeleted
from rdv.stream.file.write_lock import LockedFiles
from rdv.system.disk import Disk
from rdv.system.faults import os_fault
from rdv.system.forks import watch_forks


class PartitionWriter(LockedFiles):
    """A `PartitionWriter` is the write side of one partition.

    Thread-safe; other processes have their own. Files are opened at the first append and whenever
    they are needed again after `release`. `announce` is called after every commit with the
    monotonic time of its beginning, with no lock held; `opened` whenever files have been opened;
    `recovered` with the new end when a recovery has cut the partition.
    """

    def __init__(
        self,
        disk: Disk,
        directory: str,
        config: StreamConfig,
        clock: Clock,
        *,
        announce: Callable[[int], None],
        opened: Callable[[PartitionWriter], None],
        recovered: Callable[[int], None],
    ) -> None:
        super().__init__(disk, directory, config, clock, recovered)
        self._native = disk.native
        self._config = config
        self._announce = announce
        self._opened = opened
        self._mutex = threading.Lock()
        self._syncing = threading.Lock()
        self._sync_error: SyncFailed | None = None
        self._is_dirty = self._must_seal = False
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
            lock, now_ns = self._lock, self._clock.monotonic_ns()
            if now_ns >= self._look_ns and lock is not None:
                lock = self._look_after_files(lock)
            if lock is None:
                lock = self._open(timeout_ms)
                has_opened = True
            if self._native is not None and self._sync_error is None and not lock.is_contended:
                offset = self._tail.append_natively(self._native, values)
                self._is_dirty = self._is_dirty or offset >= 0
            while offset < 0:
                try:
                    offset, is_anew = self._append_locked(values, timeout_ms)
                except LockDeleted:
                    self._leave_files()
                    continue
                has_opened = has_opened or is_anew
        except OSError as error:
            raise os_fault(error, self.directory, "append to") from error
        finally:
            mutex.release()
        if has_opened:
            # Called with no mutex held: it may release other writers.
            self._opened(self)
        self._announce(now_ns)
        return offset

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
                    self._mark_end()
                    self._close_files()
            finally:
                self._mutex.release()

    def _mark_end(self) -> None:
        # The number of a lock file that is closed may by now be that of another partition's.
        if self._lock is not None:
            self._tail.mark_end()

    def close(self) -> None:
        """Sync when the policy asks for it, and close. Raises SyncFailed."""
        if self._config.fsync == "interval":
            self.sync()
        with self._mutex:
            self._save_files()
            self._mark_end()
            self._close_files()
            self._forget_left()
            error, self._sync_error = self._sync_error, None
        if error is not None:
            raise error

    def after_fork(self) -> None:
        """Close the parent's files, see `Forkable`: the child's next append opens its own."""
        self._mutex = threading.Lock()
        self._syncing = threading.Lock()
        self._sync_error, self._is_dirty, self._must_seal = None, False, False
        self._close_files()
        self._forget_left()
