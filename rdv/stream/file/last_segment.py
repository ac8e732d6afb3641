"""A `LastSegment` is the open last segment of a partition, as a process that appends to it has it.

Everything here runs under the partition's lock, which the caller takes (`writer`).
"""

from __future__ import annotations

import contextlib
import errno

from rdv.clock import Clock
from rdv.stream.config import StreamConfig
from rdv.stream.errors import SyncFailed
from rdv.stream.file import layout
from rdv.stream.file.checkpoint import Checkpoint, known_end, pack_checkpoint, write_mark
from rdv.stream.file.entry import ENTRY_BYTES, Codec, codec_of, unpack_entry
from rdv.stream.file.rescue import OpenSegment
from rdv.stream.file.retention import keep_note
from rdv.stream.file.segment import Segment
from rdv.system.disk import Disk

INDEX_BYTES_MIN = 1024 * 1024
"""The minimum index size in bytes for a seal: a segment of tiny values is sealed when its index has
grown to segment_bytes or, if that is less, to this."""

UNKNOWN = -1
"""The index size when the end is to be found anew."""
NEVER_NS = 2**63 - 1
_COUNT_BYTES = 1 << 20


class LockDeleted(OSError):
    """The lock that is held no longer excludes other processes: no file may be made under it."""


class LastSegment:
    """A `LastSegment` has the files, the known end and the age. Not thread-safe. Raises OSError."""

    def __init__(self, disk: Disk, directory: str, config: StreamConfig, clock: Clock) -> None:
        self.values_fd = self.index_fd = -1
        self._disk = disk
        self._directory = directory
        self._config = config
        self._clock = clock
        self._segment_bytes = config.segment_bytes
        self._index_bytes_max = max(config.segment_bytes, INDEX_BYTES_MIN)
        self._is_always_synced = config.fsync == "always"
        self._lock_fd = -1
        self._boot = b""
        self._base = 0
        self._codec = self._codec_at(0)
        self._index_size = UNKNOWN
        self._known_end = self._unmarked = 0
        self._end = self._crc = self._time_ns = 0
        self._roll_at_ns = NEVER_NS
        self._are_names_unsynced = False

    def open(self, lock_fd: int, boot: bytes) -> None:
        """Open the last segment; make the first one when there is none."""
        self._lock_fd, self._boot = lock_fd, boot
        self._known_end = known_end(self._disk, lock_fd)
        bases = self._bases()
        self._time_ns = 0
        self._index_size = UNKNOWN
        if self._config.retention_ms is not None and not bases:
            keep_note(self._disk, self._directory, self._clock)
        self._go_to(bases[-1] if bases else 0)
        if len(bases) > 1:
            self._time_ns = self._last_time_ns(bases[-2])

    def _bases(self) -> list[int]:
        return layout.segment_bases(self._disk.list_files(self._directory))

    def _codec_at(self, base: int) -> Codec:
        return codec_of(layout.identity(self._directory), base)

    @property
    def next_offset(self) -> int:
        """Return the offset after the last record that this process knows of."""
        return self._base + max(0, self._index_size) // ENTRY_BYTES

    def mark_end(self) -> None:
        """Note the end in the lock file, so that every process notices an index that is cut.

        Does nothing when the end is not known, or the disk is full.
        """
        self._unmarked = 0
        if self._index_size > 0 and self._lock_fd >= 0:
            with contextlib.suppress(OSError):
                write_mark(self._disk, self._lock_fd, self._boot, self.next_offset)

    def open_segment(self) -> OpenSegment:
        """Return the open segment, with its own descriptors."""
        return OpenSegment(self._disk, self._base, self._codec, self.index_fd, self.values_fd)

    def has_lost_a_file(self) -> bool:
        """Return whether an open file has been deleted, so that no other process sees it."""
        is_unlinked = self._disk.is_unlinked
        return is_unlinked(self.index_fd) or is_unlinked(self.values_fd)

    def _go_to(self, base: int) -> None:
        """Open the segment that begins at `base`; make it when it does not exist yet."""
        disk = self._disk
        if disk.is_unlinked(self._lock_fd):
            raise LockDeleted(errno.ENOENT, "the lock file has been deleted")
        values_path = layout.values_path(self._directory, base)
        index_path = layout.index_path(self._directory, base)
        is_new = not disk.is_file(index_path)
        values_fd = disk.open(values_path, write=True, create=True)
        try:
            if is_new and disk.size(values_fd):
                # Values without an index: the index has been lost, and the offsets are not used
                # again.
                self._known_end = max(self._known_end, base + self._count_lines(values_fd))
            index_fd = disk.open(index_path, write=True, create=True)
        except BaseException:
            disk.close(values_fd)
            raise
        self.close()
        self.values_fd, self.index_fd, self._base = values_fd, index_fd, base
        self._codec = self._codec_at(base)
        self._roll_at_ns = NEVER_NS
        if not is_new and disk.size(index_fd) >= ENTRY_BYTES:
            self._begin_age(unpack_entry(disk.pread(index_fd, ENTRY_BYTES, 0)).time_ns)
        if self._config.fsync != "none":
            # Another process may have made the segment and failed to make its names durable.
            self._are_names_unsynced = True
            self._sync_names()

    def _begin_age(self, first_time_ns: int) -> None:
        """Set when the segment is to be sealed for retention, from the time of its first record."""
        age_ms = self._config.segment_ms
        self._roll_at_ns = NEVER_NS
        if age_ms is not None:
            # Capped at an int64: the time may be nonsense, and the age any number.
            self._roll_at_ns = min(NEVER_NS, first_time_ns + age_ms * 1_000_000)

    def _found_codec(self) -> Codec:
        """Return the format of the segment, determined from its contents."""
        with Segment(self._disk, self._directory, self._base, index_only=True) as segment:
            return segment.codec

    def _count_lines(self, values_fd: int) -> int:
        """Count the records in the values, assuming that each is a line, as those of rdv are."""
        count, position, data = 0, 0, b"\n"
        while more := self._disk.pread(values_fd, _COUNT_BYTES, position):
            count, position, data = count + more.count(b"\n"), position + len(more), more
        return count + (not data.endswith(b"\n"))

    def _sync_names(self) -> None:
        self._disk.sync_directory(self._directory)
        self._are_names_unsynced = False

    def _sync_one(self, fd: int) -> None:
        try:
            self._disk.fdatasync(fd)
        except OSError as error:
            raise SyncFailed(self._directory, error.strerror or str(error)) from error

    def _write_checkpoint(self) -> None:
        data = pack_checkpoint(Checkpoint(self._boot, self.next_offset))
        self._disk.write_all(self._lock_fd, data, 0)

    def _last_time_ns(self, base: int) -> int:
        """Return the time of a segment's last entry, or 0 when it has none that is sound.

        An empty segment after it begins no earlier, unless a clock was ahead.
        """
        with (
            contextlib.suppress(OSError),
            Segment(self._disk, self._directory, base, index_only=True) as segment,
        ):
            count = segment.entry_count()
            entry, is_sound = segment.entry(count - 1) if count else (None, False)
            if entry is not None and is_sound:
                return entry.time_ns
        return 0

    def close(self) -> None:
        """Close the segment's files."""
        for fd in (self.values_fd, self.index_fd):
            if fd >= 0:
                self._disk.close(fd)
        self.values_fd = self.index_fd = -1
