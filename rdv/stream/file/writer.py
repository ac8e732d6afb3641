"""Appending to one partition that other processes append to as well.

The protocol (FORMAT.md): take the partition's flock, find the end from the last index entry, write
the values, write the index entries, unlock, ring who waits. The index entry is the commit.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from zlib import crc32

from rdv.clock import Clock
from rdv.stream.config import StreamConfig
from rdv.stream.errors import LockTimeout, SyncFailed, TopicNotFound
from rdv.stream.file import layout
from rdv.stream.file.checkpoint import Checkpoint, pack_checkpoint
from rdv.stream.file.disk import SEEK_END, Disk, ForkCounter, os_fault
from rdv.stream.file.entry import (
    ENTRY_BYTES,
    LOST,
    SEALED,
    intact,
    pack_batch,
    pack_entry,
    unpack_entry,
    whole,
)
from rdv.stream.file.lock import FileLock
from rdv.stream.file.recovery import recover
from rdv.stream.file.retention import purge

_UNKNOWN = -1
_NEVER = 2**63
_AT_ONCE = -1


class PartitionWriter:
    """The write side of one partition. Thread-safe; other processes have their own.

    Files are opened at the first append and whenever they are needed again after `release`.
    `announce` is called after every commit, with no lock held; `opened` whenever files have been
    opened; `recovered` with the new end when a recovery has cut the partition.
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
        self._config = config
        self._clock = clock
        self._announce = announce
        self._opened = opened
        self._recovered = recovered
        self._mutex = threading.Lock()
        self._lock: FileLock | None = None
        self._forks = ForkCounter.count
        self._values_fd = self._index_fd = -1
        self._base = 0
        self._index_size = _UNKNOWN
        self._end = self._crc = self._time_ns = 0
        self._roll_at_ns = _NEVER
        self._segment_bytes = config.segment_bytes
        self._is_always_synced = config.fsync == "always"
        self._boot = b""
        self._poisoned = False
        self._sync_error: SyncFailed | None = None
        self._is_dirty = False

    @property
    def is_dirty(self) -> bool:
        """Whether something has been written since the last sync."""
        return self._is_dirty

    def append(self, values: Sequence[bytes]) -> int:
        """Append all `values` as one batch; returns the offset of the first.

        Returns once they are committed (and durable, with fsync = "always"). Raises DiskFull,
        SyncFailed, LockTimeout and other SystemFaults; the batch is then not acknowledged, and
        a part of it may be there (send it again: at least once).
        """
        has_opened = False
        with self._mutex:
            lock = self._lock
            if lock is None or self._forks != ForkCounter.count:
                lock = self._open()
                has_opened = True
            self._acquire(lock)
            try:
                if self._sync_error is not None:
                    self._raise_sync_error()
                offset = self._append(values)
            except OSError as error:
                self._index_size = _UNKNOWN
                with contextlib.suppress(OSError):
                    self._catch_up()
                raise os_fault(error, self.directory, "append to") from error
            except BaseException:
                self._index_size = _UNKNOWN
                raise
            finally:
                self._disk.unlock(lock.fd)
        if has_opened:
            # With no mutex held: it may release other writers.
            self._opened(self)
        self._announce()
        return offset

    def _acquire(self, lock: FileLock) -> None:
        timeout_ms = self._config.lock_timeout_ms
        if not lock.acquire(timeout_ms / 1000):
            holder = self._disk.lock_holder(lock.fd)
            raise LockTimeout(f"{self.directory}/{layout.LOCK_FILE}", timeout_ms, holder)

    def _append(self, values: Sequence[bytes]) -> int:
        disk = self._disk
        if disk.lseek(self._index_fd, 0, SEEK_END) != self._index_size:
            self._catch_up()
        now_ns = self._clock.wall_ns()
        now_ns = max(now_ns, self._time_ns)
        if now_ns > self._roll_at_ns or self._end >= self._segment_bytes:
            self._roll()
        start, index_size = self._end, self._index_size
        if len(values) == 1:
            data = values[0]
            end = start + len(data)
            crc = crc32(data, self._crc)
            entries = pack_entry(end, now_ns, len(data), crc, 0)
        else:
            data = b"".join(values)
            entries, end, crc = pack_batch(values, start, now_ns, self._crc)
        if disk.pwrite(self._values_fd, data, start) != len(data):
            disk.write_all(self._values_fd, data, start)
        if self._is_always_synced:
            self._sync_one(self._values_fd)
        if disk.pwrite(self._index_fd, entries, index_size) != len(entries):
            disk.write_all(self._index_fd, entries, index_size)
        if not index_size:
            self._begin_age(now_ns)
        self._end, self._crc, self._time_ns = end, crc, now_ns
        self._index_size = index_size + len(entries)
        if self._is_always_synced:
            self._sync_one(self._index_fd)
            self._write_checkpoint(self._base + self._index_size // ENTRY_BYTES)
        else:
            self._is_dirty = True
        return self._base + index_size // ENTRY_BYTES

    def _begin_age(self, first_time_ns: int) -> None:
        """The segment's first record is that old: when is it to be sealed for retention's sake?"""
        age_ms = self._config.segment_ms
        self._roll_at_ns = _NEVER if age_ms is None else first_time_ns + age_ms * 1_000_000

    def _catch_up(self) -> None:
        """Find the end anew: another process has appended, or one was killed while it did."""
        disk = self._disk
        while True:
            size = disk.size(self._index_fd)
            if size != whole(size):
                size = whole(size)
                disk.ftruncate(self._index_fd, size)
            self._end = self._crc = 0
            if size:
                raw = disk.pread(self._index_fd, ENTRY_BYTES, size - ENTRY_BYTES)
                entry = unpack_entry(raw)
                if intact(raw) and entry.flags & SEALED:
                    self._time_ns = max(self._time_ns, entry.time_ns)
                    self._go_to(self._base + size // ENTRY_BYTES - 1)
                    continue
                if not intact(raw) or disk.size(self._values_fd) < entry.end:
                    self._leave_damaged_segment(size)
                    continue
                self._end, self._crc = entry.end, entry.crc
                self._time_ns = max(self._time_ns, entry.time_ns)
            if disk.size(self._values_fd) > self._end:
                disk.ftruncate(self._values_fd, self._end)
            self._index_size = size
            return

    def _leave_damaged_segment(self, index_size: int) -> None:
        """Never write behind damage: readers shall meet it, and what follows shall be sound."""
        bases = layout.segment_bases(self._disk.list_directory(self.directory))
        if bases[-1] > self._base:
            self._go_to(bases[-1])
            return
        self._index_size = index_size
        self._close_segment_with(self._disk.size(self._values_fd))

    def _roll(self) -> None:
        """Seal the segment, begin the next, and let retention have what it may."""
        if self._config.fsync != "none" and not self._poisoned:
            self._sync_one(self._values_fd)
            self._sync_one(self._index_fd)
            self._write_checkpoint(self._base + self._index_size // ENTRY_BYTES)
        elif not self._index_size:
            # Two segments cannot begin at one offset: give up an offset that nobody was told of.
            self._disk.write_all(self._index_fd, pack_entry(0, self._time_ns, 0, 0, LOST), 0)
            self._index_size = ENTRY_BYTES
        self._close_segment_with(self._end)
        self._catch_up()
        purge(self._disk, self.directory, self._config, self._clock.wall_ns())

    def _close_segment_with(self, end: int) -> None:
        seal = pack_entry(end, self._time_ns, 0, self._crc, SEALED)
        self._disk.write_all(self._index_fd, seal, self._index_size)

    def _go_to(self, base: int) -> None:
        """Open the segment that begins at `base`; make it when it is not there yet."""
        disk = self._disk
        values_path = layout.values_path(self.directory, base)
        index_path = layout.index_path(self.directory, base)
        is_new = not disk.exists(index_path)
        values_fd = disk.open(values_path, write=True, create=True)
        try:
            if is_new and disk.size(values_fd):
                disk.ftruncate(values_fd, 0)
            index_fd = disk.open(index_path, write=True, create=True)
        except BaseException:
            disk.close(values_fd)
            raise
        self._close_segment()
        self._values_fd, self._index_fd, self._base = values_fd, index_fd, base
        self._poisoned = False
        self._roll_at_ns = _NEVER
        if not is_new and disk.size(index_fd) >= ENTRY_BYTES:
            self._begin_age(unpack_entry(disk.pread(index_fd, ENTRY_BYTES, 0)).time_ns)
        elif self._config.fsync != "none":
            disk.sync_directory(self.directory)

    def sync(self) -> None:
        """Make durable what has been written; used by fsync = "interval". Never blocks senders.

        A failure is raised by the next append.
        """
        disk, fds = self._disk, list[int]()
        try:
            synced = self._begin_sync(fds)
            if synced is not None:
                disk.fdatasync(fds[0])
                disk.fdatasync(fds[1])
                disk.write_all(fds[2], pack_checkpoint(Checkpoint(self._boot, synced)), 0)
        except OSError as error:
            with self._mutex:
                self._give_up_segment()
                self._sync_error = SyncFailed(self.directory, error.strerror or str(error))
        finally:
            for fd in fds:
                disk.close(fd)

    def _begin_sync(self, fds: list[int]) -> int | None:
        """Descriptors of our own (senders may roll or close meanwhile), and what they cover."""
        with self._mutex:
            if self._lock is None or not self._is_dirty or self._forks != ForkCounter.count:
                return None
            ours = (self._values_fd, self._index_fd, self._lock.fd)
            fds.extend(map(self._disk.dup, ours))
            self._is_dirty = False
            return self._base + max(0, self._index_size) // ENTRY_BYTES

    def _sync_one(self, fd: int) -> None:
        try:
            self._disk.fdatasync(fd)
        except OSError as error:
            self._give_up_segment()
            raise SyncFailed(self.directory, error.strerror or str(error)) from error

    def _give_up_segment(self) -> None:
        """After a failed fsync the kernel may have dropped the pages: seal, never sync again."""
        self._poisoned = True
        self._roll_at_ns = _AT_ONCE

    def _raise_sync_error(self) -> None:
        error, self._sync_error = self._sync_error, None
        if error is not None:
            raise error

    def _write_checkpoint(self, synced: int) -> None:
        if self._lock is not None:
            data = pack_checkpoint(Checkpoint(self._boot, synced))
            self._disk.write_all(self._lock.fd, data, 0)

    def _open(self) -> FileLock:
        if self._forks != ForkCounter.count:
            self._forget_parents_files()
        disk = self._disk
        try:
            fd = disk.open(f"{self.directory}/{layout.LOCK_FILE}", write=True, create=True)
        except FileNotFoundError:
            stream, topic, _ = self.directory.rsplit("/", 2)
            raise TopicNotFound(stream, topic) from None
        except OSError as error:
            raise os_fault(error, self.directory, "open") from error
        lock = FileLock(disk, fd)
        try:
            self._acquire(lock)
            try:
                self._open_locked(lock)
            finally:
                lock.release()
        except OSError as error:
            disk.close(fd)
            raise os_fault(error, self.directory, "open") from error
        except BaseException:
            disk.close(fd)
            raise
        self._lock = lock
        return lock

    def _open_locked(self, lock: FileLock) -> None:
        disk = self._disk
        outcome = recover(disk, self.directory, lock.fd)
        self._boot = outcome.boot
        if outcome.cut_to is not None:
            self._recovered(outcome.cut_to)
        bases = layout.segment_bases(disk.list_directory(self.directory))
        self._time_ns = 0
        self._index_size = _UNKNOWN
        self._go_to(bases[-1] if bases else 0)
        if len(bases) > 1:
            self._time_ns = self._last_time_ns(bases[-2])

    def _last_time_ns(self, base: int) -> int:
        """The time of a segment's last entry, so that time never runs backwards across segments."""
        disk = self._disk
        with contextlib.suppress(OSError):
            fd = disk.open(layout.index_path(self.directory, base))
            try:
                size = whole(disk.size(fd))
                raw = disk.pread(fd, ENTRY_BYTES, max(0, size - ENTRY_BYTES))
                if len(raw) == ENTRY_BYTES and intact(raw):
                    return unpack_entry(raw).time_ns
            finally:
                disk.close(fd)
        return 0

    def release(self) -> None:
        """Close the files, unless an append is under way; the next append opens them again."""
        if self._config.fsync == "interval":
            self.sync()
        if self._mutex.acquire(blocking=False):
            try:
                self._close_files()
            finally:
                self._mutex.release()

    def close(self) -> None:
        """Sync when the policy asks for it, and close. Raises SyncFailed."""
        if self._config.fsync == "interval":
            self.sync()
        with self._mutex:
            self._close_files()
            if self._sync_error is not None:
                self._raise_sync_error()

    def _close_files(self) -> None:
        if self._forks != ForkCounter.count:
            self._forget_parents_files()
        if self._lock is not None:
            self._disk.close(self._lock.fd)
            self._lock = None
        self._close_segment()

    def _forget_parents_files(self) -> None:
        """After a fork: close our copies (the parent's stay open, and with them its locks)."""
        self._forks = ForkCounter.count
        self._close_files()

    def _close_segment(self) -> None:
        for fd in (self._values_fd, self._index_fd):
            if fd >= 0:
                self._disk.close(fd)
        self._values_fd = self._index_fd = -1
