"""A `PartitionReader` reads forward, whole batches with two system calls and two CRC calls."""

from __future__ import annotations

from bisect import bisect_right
from zlib import crc32

from rdv.native import Native
from rdv.stream.backend import EMPTY, NOTHING
from rdv.stream.errors import RecordsDamaged
from rdv.stream.file import layout
from rdv.stream.file.chain import Position, Verdict, after, walk
from rdv.stream.file.damage import cut_index, damaged_run, index_gap
from rdv.stream.file.entry import (
    ENTRY_BYTES,
    SEALED,
    base_behind,
    last_flags,
    runs_on,
    unpack_columns,
    unpack_entry,
    whole,
)
from rdv.stream.file.read_place import ReadPlace
from rdv.stream.file.segment import Segment, open_segments
from rdv.stream.record import Block, Record
from rdv.system.faults import faults, os_fault

ENTRIES_PER_READ_MAX = 8192


class PartitionReader(ReadPlace):
    """A `PartitionReader` is the read side of one partition, at one position. Not thread-safe.

    All returned records have passed their CRC. Raises RecordsDamaged (the position stays before the
    damage), RecordsLost (retention was faster; the position moves behind the loss) and
    SystemFaults.
    """

    def has_more(self, offset: int) -> bool:
        """Return whether `read(offset)` may find records, without opening closed files."""
        if self._base < 0 or self._base + self._number != offset:
            return True
        size = (self._number + 1) * ENTRY_BYTES
        try:
            if self._segment is not None:
                return self._disk.size(self._segment.index_fd) >= size
            path = layout.index_path(self._directory, self._base)
            return self._disk.path_size(path) >= size or self._next_base is not None
        except FileNotFoundError:
            return True
        except OSError as error:
            raise os_fault(error, self._directory, "read") from error

    def read(self, offset: int, max_records: int, max_bytes: int) -> Block:
        """Return up to `max_records` records from `offset` on, about `max_bytes`, at least one.

        An empty block means that there are none yet. Never spans two segments.
        """
        segment = self._segment
        self.is_drained = False
        try:
            if segment is None or self._base + self._number != offset:
                self._seek(offset)
                return self._read(max_records, max_bytes)
            if self._native is not None:
                block = self._read_natively(self._native, segment, max_records, max_bytes)
                if block is not None:
                    return block
            size = min(max_records, ENTRIES_PER_READ_MAX) * ENTRY_BYTES
            raw = self._disk.pread(segment.index_fd, size, self._number * ENTRY_BYTES)
            if not raw and self._is_at_end():
                self.is_drained = True
                return NOTHING
            return self._read(max_records, max_bytes, raw)
        except RecordsDamaged:
            # A position beyond the damage may not exist in the files that are there now.
            segment = self._segment
            if segment is not None and not self._disk.is_at(segment.index_fd, segment.index_path):
                self._wait_for(-1)
            raise
        except OSError as error:
            raise os_fault(error, self._directory, "read") from error

    def _read_natively(
        self, native: Native, segment: Segment, max_records: int, max_bytes: int
    ) -> Block | None:
        """Read the usual case in one native call; returns None for any other case."""
        found = native.read(
            segment.index_fd,
            segment.values_fd,
            self._number,
            self._end,
            self._crc,
            max_records,
            max_bytes,
            self._time_ns,
            segment.today.first_word,
        )
        if found is None and self._is_end():
            self.is_drained = True
            return NOTHING
        if not found:
            return None
        count, times, stops, data, self._end, self._crc, is_all = found
        self._time_ns = times[-1]
        first = self._base + self._number
        self._number += count
        self.is_drained = is_all and self._next_base is None and first + count >= self._known_end
        return Block(self._topic, self._partition, range(first, first + count), times, stops, data)

    def notice_deletion(self) -> None:
        """Have the next read look for its offset in the current files; see backend.Reader."""
        segment = self._segment
        if segment is None:
            return
        with faults(self._directory, "read"):
            is_cut = self._disk.size(segment.index_fd) < self._number * ENTRY_BYTES
            if is_cut or self._disk.is_unlinked(segment.index_fd) or self._is_replaced(segment):
                self._wait_for(-1)

    def _is_replaced(self, segment: Segment) -> bool:
        """Return whether the directory was moved away and replaced by one with segments.

        Without segments in its place the reader stays: a living writer puts the files back.
        """
        path = layout.index_path(self._directory, segment.base)
        return not self._disk.is_at(segment.index_fd, path) and bool(
            open_segments(self._disk, self._directory)
        )

    def skip_to(self) -> int:
        """Return the offset after records that `repair` has given up, after an empty `read`."""
        return self._base + self._number

    def _is_at_end(self) -> bool:
        """Return whether the index ends at the position, and has not been cut there."""
        segment = self._segment
        return self._is_end() and (
            segment is None or self._disk.size(segment.index_fd) >= self._number * ENTRY_BYTES
        )

    def _read(self, max_records: int, max_bytes: int, raw: bytes | None = None) -> Block:
        """Read from the position on. `raw` is the index from there, if it was read already."""
        while (segment := self._segment) is not None:
            if raw is None:
                size = min(max_records, ENTRIES_PER_READ_MAX) * ENTRY_BYTES
                raw = self._disk.pread(segment.index_fd, size, self._number * ENTRY_BYTES)
            raw = raw[: whole(len(raw))]
            if not raw:
                if not self._is_passed(segment):
                    break
                raw = None
                continue
            if not segment.codec.intact(raw):
                return self._read_carefully(segment, raw)
            if not last_flags(raw) & SEALED:
                is_all = len(raw) < min(max_records, ENTRIES_PER_READ_MAX) * ENTRY_BYTES
                self.is_drained = is_all and self._is_end(len(raw) // ENTRY_BYTES)
                return self._batch(segment, raw, max_bytes)
            if len(raw) > ENTRY_BYTES:
                return self._batch(segment, raw[:-ENTRY_BYTES], max_bytes)
            if not segment.codec.holds(raw, self._number):
                return self._read_carefully(segment, raw)
            if not self._pass_seal(raw):
                break
            raw = None
        return EMPTY

    def _pass_seal(self, raw: bytes) -> bool:
        """Continue after the seal at the position, and after offsets that it gives up.

        Returns False when there is no segment yet.
        """
        behind = base_behind(self._base, self._number, unpack_entry(raw))
        is_there = self._next_segment(behind)
        if not is_there and behind > self._base + self._number:
            self._wait_for(behind)
        return is_there

    def _batch(self, segment: Segment, raw: bytes, max_bytes: int) -> Block:
        start = self._end
        ends, times, lengths, crcs, flags = unpack_columns(raw)
        if ends[-1] - start > max_bytes:
            self.is_drained = False
            raw = raw[: max(1, bisect_right(ends, start + max_bytes)) * ENTRY_BYTES]
            ends, times, lengths, crcs, flags = unpack_columns(raw)
        end, count = ends[-1], len(ends)
        if flags != segment.codec.words(self._number, count) or not runs_on(
            ends, times, lengths, start, self._time_ns
        ):
            return self._read_carefully(segment, raw)
        data = self._disk.pread(segment.values_fd, end - start, start)
        if len(data) != end - start:
            data = segment.values(start, end)
        if len(data) != end - start or crc32(data, self._crc) != crcs[-1]:
            return self._read_carefully(segment, raw)
        offset = self._base + self._number
        self._number += count
        self._end, self._crc, self._time_ns = end, crcs[-1], times[-1]
        stops = [stop - start for stop in ends]
        offsets = range(offset, offset + count)
        return Block(self._topic, self._partition, offsets, times, stops, data)

    def _read_carefully(self, segment: Segment, raw: bytes) -> Block:
        """Return the sound records before the damage; raise when there are none."""
        self.is_drained = False
        first, is_sealed = self._base + self._number, False
        records: list[Record] = []
        damaged: list[Verdict] = []
        at = Position(self._number, self._end, self._crc, self._time_ns)
        for verdict in walk(segment.codec, raw, segment.values, at):
            if verdict.status == "damaged":
                damaged.append(verdict)
                continue
            is_sealed = verdict.status == "sealed"
            if damaged or is_sealed:
                break
            at = after(at, verdict.entry)
            self._go_to(at)
            if verdict.status == "ok":
                offset, entry = first + verdict.number, verdict.entry
                records.append(
                    Record(self._topic, self._partition, offset, entry.time_ns, verdict.value)
                )
        if not damaged or records or self._base + self._number > first:
            if is_sealed and self._base + self._number == first and self._pass_seal(raw):
                # The entries after the seal are foreign; `verify` reports them.
                return self._read(len(raw) // ENTRY_BYTES, ENTRIES_PER_READ_MAX)
            return Block.of(records) if records else EMPTY
        next_base = self._base_after(self._base)
        if next_base is not None and next_base <= first:
            # Only the sealing entry is damaged, or what follows it: no record is missing, and
            # `verify` reports it.
            if next_base == first:
                self._next_segment(first)
            else:
                self._seek(first)
            return self._read(len(raw) // ENTRY_BYTES, ENTRIES_PER_READ_MAX)
        if next_base is not None:
            del damaged[next_base - first :]
        raise damaged_run(segment, self._place, first, damaged)

    def _is_passed(self, segment: Segment) -> bool:
        """Continue with a later segment, if there is one, after an index without a seal.

        The seal is written before the next segment is made, so only a power loss or a truncated
        file causes this.
        """
        position, count = self._base + self._number, segment.entry_count()
        if count > self._number:
            return True
        if count < self._number:
            # The index was truncated while it was open.
            self._next_base = self._base_after(self._base)
        if self._next_base is None:
            known_end = max(self._known_end, position if count < self._number else 0)
            if position < known_end:
                raise cut_index(self._disk, self._directory, self._place, position, known_end)
            return False
        if position < self._next_base:
            raise index_gap(segment, self._place, position, self._next_base)
        return self._next_segment(position)
