"""A `Tail` is the end of a partition as one process sees it: where the next record goes. FORMAT.md.

Everything here runs under the partition's lock, which the caller takes (`writer`).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from zlib import crc32

from rdv.clock import Clock
from rdv.coded import coded
from rdv.native import Native
from rdv.stream.config import StreamConfig
from rdv.stream.errors import SyncFailed, WouldWait
from rdv.stream.file.entry import ENTRY_BYTES, LOST, SEALED, Codec, base_behind, unpack_entry, whole
from rdv.stream.file.last_segment import UNKNOWN, LastSegment
from rdv.stream.file.retention import purge
from rdv.stream.times import AHEAD_MAX_NS
from rdv.system.disk import SEEK_END, Disk

log = logging.getLogger("rdv.stream")

MARK_EVERY = 1024
"""The number of appends after which the end is noted in the lock file, in case the process is
killed later."""

LOOK_EVERY = 64
"""The number of appends after which a writer checks whether its files have been deleted."""

ANEW_EVERY_NS = 10 * 10**9
"""The minimum time between two segments that a writer begins because of a wrong clock, on its
monotonic clock: of two writers with different clocks that take turns, neither makes a segment for
each append."""

_AGAIN_MAX = 1000
_AT_ONCE = -1


class Tail(LastSegment):
    """The open last segment and its known end are kept here. Not thread-safe.

    The known end is trusted as long as the index has the size that this process left it with.
    Otherwise another process has appended, or was killed while appending, and `catch_up` finds the
    end anew. Raises OSError, and SyncFailed.
    """

    def __init__(self, disk: Disk, directory: str, config: StreamConfig, clock: Clock) -> None:
        super().__init__(disk, directory, config, clock)
        self._began_anew_ns = -ANEW_EVERY_NS
        self._poisoned = self._must_look = False

    def forget(self) -> None:
        """Find the end anew at the next append, because an append has failed half-way."""
        self._index_size = UNKNOWN

    def append_natively(self, native: Native, values: Sequence[bytes]) -> int:
        """Append as `append` does, but take and release the partition's lock here.

        Returns -1 when another process holds it, or for anything but the usual case: nothing is
        committed then, and `append` can do it. Raises OSError when a part may be committed.
        """
        if self._index_size < 0 or self._is_always_synced or self._are_names_unsynced:
            return -1
        self._unmarked += 1
        if not self._unmarked % LOOK_EVERY and self.has_lost_a_file():
            self._must_look = True
            return -1
        try:
            done = native.append(
                self._lock_fd,
                self.values_fd,
                self.index_fd,
                values,
                self._index_size,
                self._end,
                self._crc,
                self._time_ns,
                self._clock.wall_ns(),
                self._segment_bytes,
                self._index_bytes_max,
                self._roll_at_ns,
                self._codec.first_word,
            )
            if done is None:
                return -1
            index_size, self._end, self._crc, self._time_ns = done
            if not index_size:
                self._begin_age(self._time_ns)
            self._index_size = index_size + len(values) * ENTRY_BYTES
        except BaseException:
            self.forget()
            raise
        if self._unmarked >= MARK_EVERY:
            self.mark_end()
        return self._base + index_size // ENTRY_BYTES

    def look_after_files(self) -> None:
        """Leave a segment at the next append if its files were deleted while it was open."""
        if self.has_lost_a_file():
            self._known_end = max(self._known_end, self.next_offset)
            self.forget()

    def append(self, values: Sequence[bytes], *, may_roll: bool = True) -> int:
        """Append a batch at the end; returns the offset of its first value.

        Raises WouldWait where a new segment has to be begun first, and `may_roll` is false.
        """
        disk = self._disk
        now_ns = self._make_ready(may_roll=may_roll)
        start, index_size = self._end, self._index_size
        number = index_size // ENTRY_BYTES
        if len(values) == 1:
            data = values[0]
            end = start + len(data)
            crc = crc32(data, self._crc)
            entries = self._codec.pack(number, end, now_ns, len(data), crc)
        else:
            data = b"".join(values)
            entries, end, crc = self._codec.pack_batch(number, values, start, now_ns, self._crc)
        if disk.pwrite(self.values_fd, data, start) != len(data):
            disk.write_all(self.values_fd, data, start)
        if self._is_always_synced:
            self._sync_one(self.values_fd)
        if disk.pwrite(self.index_fd, entries, index_size) != len(entries):
            disk.write_all(self.index_fd, entries, index_size)
        if not index_size:
            self._begin_age(now_ns)
        self._end, self._crc, self._time_ns = end, crc, now_ns
        self._index_size = index_size + len(entries)
        if self._is_always_synced:
            self._sync_one(self.index_fd)
            self._write_checkpoint()
        return self._base + index_size // ENTRY_BYTES

    def _make_ready(self, *, may_roll: bool) -> int:
        """Go to where the next record belongs; returns the time of the append."""
        is_moved = self._disk.lseek(self.index_fd, 0, SEEK_END) != self._index_size
        if is_moved or self._must_look or self._is_lost_by_now():
            self._must_look = True
            if not may_roll and self.has_lost_a_file():
                raise WouldWait(self._directory, "deleted files are to be put back first")
            self.catch_up()
        wall_ns = self._clock.wall_ns()
        is_ahead = self._time_ns - wall_ns > AHEAD_MAX_NS
        if self._is_full(max(wall_ns, self._time_ns)) or (
            is_ahead and self._index_size and self._may_begin_anew(may_roll=may_roll)
        ):
            if not may_roll:
                raise WouldWait(self._directory, "its segment is to be sealed first")
            self._roll()
        if is_ahead and not self._index_size:
            # Time may fall between segments: one wrong clock does not affect the times that follow.
            self._time_ns = wall_ns
        if self._are_names_unsynced:
            self._sync_names()
        return max(wall_ns, self._time_ns)

    def _is_full(self, now_ns: int) -> bool:
        return (
            now_ns > self._roll_at_ns
            or self._end >= self._segment_bytes
            or self._index_size >= self._index_bytes_max
        )

    def _may_begin_anew(self, *, may_roll: bool) -> bool:
        """Return whether a new segment may begin, as the log's last time is in the future."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._began_anew_ns < ANEW_EVERY_NS:
            return False
        if not may_roll:
            return True
        self._began_anew_ns = now_ns
        log.warning(
            "%s: its last record is dated %.0f s ahead of this process's clock: a new segment "
            "begins with the time of this clock",
            self._directory,
            (self._time_ns - self._clock.wall_ns()) / 1e9,
            extra=coded("clock_behind"),
        )
        return True

    def catch_up(self) -> None:
        """Find the end anew: another process has appended, or was killed while appending."""
        known_end = self.next_offset if self._index_size > 0 else 0
        if self.has_lost_a_file():
            with contextlib.closing(self.open_segment()) as lost:
                values = lost.put_back(self._directory)
                self._go_to(max([self._base, *self._bases()]))
                if values:
                    self._find_end()
                    self.append_again(values)
                    lost.leave()
                    known_end = 0
        self._known_end = max(self._known_end, known_end)
        self._find_end()
        self._must_look = False

    def append_again(self, values: Sequence[bytes]) -> None:
        """Append acknowledged values again, at other offsets: see `OpenSegment.put_back`."""
        for first in range(0, len(values), _AGAIN_MAX):
            self.append(values[first : first + _AGAIN_MAX])

    def _find_end(self) -> None:
        disk = self._disk
        while True:
            size = disk.size(self.index_fd)
            if size != whole(size):
                size = whole(size)
                disk.ftruncate(self.index_fd, size)
            self._end = self._crc = 0
            if size and not self._take_last_entry(size):
                continue
            if self._base + size // ENTRY_BYTES < self._known_end:
                self._leave_segment(self._codec, size)
                continue
            if disk.size(self.values_fd) > self._end:
                disk.ftruncate(self.values_fd, self._end)
            self._index_size = size
            return

    def _is_lost_by_now(self) -> bool:
        """Return `has_lost_a_file` at every LOOK_EVERY-th call, as fstat slows the next write."""
        self._unmarked += 1
        return self._unmarked % LOOK_EVERY == 0 and self.has_lost_a_file()

    def _take_last_entry(self, size: int) -> bool:
        """Continue after the last entry of the index; False when the segment has been left."""
        disk = self._disk
        number = size // ENTRY_BYTES - 1
        raw = disk.pread(self.index_fd, ENTRY_BYTES, size - ENTRY_BYTES)
        codec, entry = self._codec, unpack_entry(raw)
        is_sound = codec.holds(raw, number)
        if not is_sound:
            codec = self._found_codec()
            is_sound = codec.holds(raw, number)
        if is_sound and entry.flags & SEALED:
            self._time_ns = entry.time_ns
            # Other writers may have gone on for many segments, and retention may have deleted some.
            self._go_to(max([base_behind(self._base, number, entry), *self._bases()]))
            return False
        if not is_sound or disk.size(self.values_fd) < entry.end:
            self._leave_damaged_segment(codec, size)
            return False
        self._end, self._crc = entry.end, entry.crc
        self._time_ns = entry.time_ns
        if codec.version != self._codec.version:
            # Formats are never mixed in one segment: this one was written by rdv 0.1.
            self._leave_segment(codec, size)
            return False
        return True

    def _leave_damaged_segment(self, codec: Codec, index_size: int) -> None:
        """Never append after damage: readers must meet it, and what follows must be sound."""
        if (last := max(self._bases(), default=self._base)) > self._base:
            self._go_to(last)
            return
        self._end = self._disk.size(self.values_fd)
        self._leave_segment(codec, index_size)

    def _leave_segment(self, codec: Codec, index_size: int) -> None:
        """Seal the segment.

        Offsets that are known to have been written and are missing now are not used again: entries
        of zeros stand for them, which are damage like any other.
        """
        if self._base + index_size // ENTRY_BYTES < self._known_end:
            log.warning(
                "%s: the index ends at offset %d, but had reached %d: what is missing is damage, "
                "and its offsets are not used again",
                self._directory,
                self._base + index_size // ENTRY_BYTES,
                self._known_end,
                extra=coded("index_cut_off"),
            )
            index_size = (self._known_end - self._base) * ENTRY_BYTES
            self._disk.ftruncate(self.index_fd, index_size)
        self._index_size = index_size
        self._close_segment_with(codec, self._end)

    def _roll(self) -> None:
        """Seal the segment, begin the next, and apply the retention."""
        self.mark_end()
        if self._config.fsync != "none" and not self._poisoned:
            self._sync_one(self.values_fd)
            self._sync_one(self.index_fd)
            self._write_checkpoint()
        elif not self._index_size:
            # Two segments cannot begin at one offset: give up an offset that was never returned to
            # a caller.
            given_up = self._codec.pack(0, 0, self._time_ns, 0, 0, LOST)
            self._disk.write_all(self.index_fd, given_up, 0)
            self._index_size = ENTRY_BYTES
        if self._disk.size(self.values_fd) > self._end:
            # A writer was killed between its values and its entries: remove those values.
            self._disk.ftruncate(self.values_fd, self._end)
        self._close_segment_with(self._codec, self._end)
        again = self._put_back_sealed()
        self.catch_up()
        self.append_again(again)
        self._poisoned = False
        purge(self._disk, self._directory, self._config, self._clock)

    def _put_back_sealed(self) -> list[bytes]:
        """Put back files of the segment that were deleted before it was sealed here.

        Later this process will not have them open. Returns the values to be appended again.
        """
        if not self.has_lost_a_file():
            return []
        with contextlib.closing(self.open_segment()) as lost:
            return lost.put_back(self._directory, is_just_sealed=True)

    def _close_segment_with(self, codec: Codec, end: int) -> None:
        number = self._index_size // ENTRY_BYTES
        seal = codec.pack(number, end, self._time_ns, 0, self._crc, SEALED)
        self._disk.write_all(self.index_fd, seal, self._index_size)

    def leave_unsynced(self) -> None:
        """Seal the segment and never sync it again: a failed fsync may have dropped its pages.

        Called under the partition's lock, so that no other process goes on in the segment.
        """
        self._poisoned = True
        self._index_size = UNKNOWN
        try:
            self.catch_up()
            self._roll()
        except (OSError, SyncFailed):
            self._roll_at_ns = _AT_ONCE
