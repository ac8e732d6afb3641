"""Reading one partition forward: whole batches with two system calls and two CRC calls."""

from __future__ import annotations

from bisect import bisect_right
from zlib import crc32

from rdv.native import Native
from rdv.stream.backend import EMPTY, NOTHING
from rdv.stream.errors import OffsetOutOfRange, RecordsLost
from rdv.stream.file import layout
from rdv.stream.file.chain import Verdict, walk
from rdv.stream.file.damage import damaged_run, index_gap, missing_values
from rdv.stream.file.disk import Disk, faults, os_fault
from rdv.stream.file.entry import ENTRY_BYTES, SEALED, intact, last_flags, unpack_columns, whole
from rdv.stream.file.segment import Segment, open_segments
from rdv.stream.record import Block, Record, TopicPartition

ENTRIES_PER_READ_MAX = 8192


class PartitionReader:
    """The read side of one partition, at one position. Not thread-safe.

    Everything that is handed out has passed its CRC. Raises RecordsDamaged (the position stays in
    front of the damage), RecordsLost (retention was faster; the position moves behind the loss)
    and SystemFaults.
    """

    def __init__(self, disk: Disk, directory: str, topic: str, partition: int) -> None:
        self._disk = disk
        self._native = disk.native
        self._directory = directory
        self._topic = topic
        self._partition = partition
        self._place = TopicPartition(topic, partition)
        self._segment: Segment | None = None
        self._base = -1
        self._number = 0
        self._end = self._crc = 0
        self._next_base: int | None = None
        self.is_drained = False

    @property
    def is_open(self) -> bool:
        return self._segment is not None

    def has_more(self, offset: int) -> bool:
        """Whether `read(offset)` may have something, without opening files that are closed."""
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
        """Up to `max_records` records from `offset` on, at most about `max_bytes`, at least one.

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
            if not raw and self._next_base is None:
                self.is_drained = True
                return NOTHING
            return self._read(max_records, max_bytes, raw)
        except OSError as error:
            raise os_fault(error, self._directory, "read") from error

    def _read_natively(
        self, native: Native, segment: Segment, max_records: int, max_bytes: int
    ) -> Block | None:
        """The usual read; None when there is something that is not the usual case."""
        found = native.read(
            segment.index_fd,
            segment.values_fd,
            self._number,
            self._end,
            self._crc,
            max_records,
            max_bytes,
        )
        if found is None and self._next_base is None:
            self.is_drained = True
            return NOTHING
        if not found:
            return None
        count, times, stops, data, self._end, self._crc, is_all = found
        self.is_drained = is_all and self._next_base is None
        first = self._base + self._number
        self._number += count
        return Block(self._topic, self._partition, range(first, first + count), times, stops, data)

    def notice_deletion(self) -> None:
        """See backend.Reader: the next read looks for its offset in what is there now."""
        segment = self._segment
        if segment is None:
            return
        with faults(self._directory, "read"):
            is_cut = self._disk.size(segment.index_fd) < self._number * ENTRY_BYTES
            if is_cut or self._disk.is_unlinked(segment.index_fd):
                self.close()
                self._base, self._number = -1, 0

    def skip_to(self) -> int:
        """The offset behind records that `repair` has given up, after an empty `read`."""
        return self._base + self._number

    def _read(self, max_records: int, max_bytes: int, raw: bytes | None = None) -> Block:
        """`raw`: the index from our position on, when it has been read already."""
        while (segment := self._segment) is not None:
            if raw is None:
                size = min(max_records, ENTRIES_PER_READ_MAX) * ENTRY_BYTES
                raw = self._disk.pread(segment.index_fd, size, self._number * ENTRY_BYTES)
            raw = raw[: whole(len(raw))]
            if not raw:
                if not self._is_passed(segment):
                    return EMPTY
                raw = None
                continue
            if not intact(raw):
                return self._read_carefully(segment, raw)
            if last_flags(raw) & SEALED:
                raw = raw[:-ENTRY_BYTES]
            elif (
                len(raw) < min(max_records, ENTRIES_PER_READ_MAX) * ENTRY_BYTES
                and self._next_base is None
            ):
                self.is_drained = True
            if raw:
                return self._batch(segment, raw, max_bytes)
            if not self._next_segment(self._base + self._number):
                return EMPTY
            raw = None
        return EMPTY

    def _batch(self, segment: Segment, raw: bytes, max_bytes: int) -> Block:
        start = self._end
        ends, times, lengths, crcs, flags = unpack_columns(raw)
        if ends[-1] - start > max_bytes:
            self.is_drained = False
            raw = raw[: max(1, bisect_right(ends, start + max_bytes)) * ENTRY_BYTES]
            ends, times, lengths, crcs, flags = unpack_columns(raw)
        end = ends[-1]
        if any(flags) or end - start != sum(lengths):
            return self._read_carefully(segment, raw)
        data = self._disk.pread(segment.values_fd, end - start, start)
        if len(data) != end - start:
            data = segment.values(start, end)
        if len(data) != end - start or crc32(data, self._crc) != crcs[-1]:
            return self._read_carefully(segment, raw)
        offset, count = self._base + self._number, len(ends)
        self._number += count
        self._end, self._crc = end, crcs[-1]
        stops = [stop - start for stop in ends]
        offsets = range(offset, offset + count)
        return Block(self._topic, self._partition, offsets, times, stops, data)

    def _read_carefully(self, segment: Segment, raw: bytes) -> Block:
        """Hand out what is sound before the damage; raise when there is nothing before it."""
        self.is_drained = False
        first = self._base + self._number
        records: list[Record] = []
        damaged: list[Verdict] = []
        for verdict in walk(raw, segment.values, self._end, self._crc):
            if verdict.status == "damaged":
                damaged.append(verdict)
                continue
            if damaged or verdict.status == "sealed":
                break
            self._number = first - self._base + verdict.number + 1
            self._end, self._crc = verdict.end, verdict.entry.crc
            if verdict.status == "ok":
                offset, entry = first + verdict.number, verdict.entry
                records.append(
                    Record(self._topic, self._partition, offset, entry.time_ns, verdict.value)
                )
        if not damaged or records or self._base + self._number > first:
            return Block.of(records) if records else EMPTY
        next_base = self._base_after(self._base)
        if next_base == first:
            # Only the sealing entry was hurt: nothing is missing, `verify` will name it.
            self._next_segment(first)
            return self._read(len(raw) // ENTRY_BYTES, ENTRIES_PER_READ_MAX)
        if next_base is not None:
            del damaged[next_base - first :]
        raise damaged_run(segment, self._place, first, damaged)

    def _is_passed(self, segment: Segment) -> bool:
        """At the end of an index without a seal: go on if there is a later segment all the same.

        The seal is written before the next segment is made, so this is what a power loss, or
        somebody who has cut the file, leaves behind.
        """
        position, next_base = self._base + self._number, self._next_base
        if next_base is None or segment.entry_count() > self._number:
            return next_base is not None
        if position < next_base:
            raise index_gap(segment, self._place, position, next_base)
        return self._next_segment(position)

    def _base_after(self, base: int) -> int | None:
        later = [b for b in open_segments(self._disk, self._directory) if b > base]
        return later[0] if later else None

    def _next_segment(self, base: int) -> bool:
        """Go on with the segment at `base`; False when it is not there yet."""
        while True:
            try:
                segment = Segment(self._disk, self._directory, base)
            except FileNotFoundError:
                damage = missing_values(self._disk, self._directory, self._place, base, base)
                if damage is not None:
                    raise damage from None
                bases = open_segments(self._disk, self._directory)
                if base in bases:
                    continue  # made in this very moment, and perhaps sealed already
                later = [b for b in bases if b > base]
                if not later:
                    return False
                raise self._lost(base, later[0]) from None
            self._enter(segment, 0)
            return True

    def _lost(self, offset: int, next_base: int) -> RecordsLost:
        self.close()
        self._base, self._number = -1, 0
        return RecordsLost(self._topic, self._partition, offset, next_base - 1)

    def _seek(self, offset: int) -> None:
        """Go to `offset`, wherever that is. Retention may take the segment while we open it."""
        while True:
            bases = open_segments(self._disk, self._directory)
            if not bases and not offset:
                return
            if not bases:
                raise OffsetOutOfRange(self._topic, self._partition, offset, 0, 0)
            if offset < bases[0]:
                raise self._lost(offset, bases[0])
            base = bases[bisect_right(bases, offset) - 1]
            try:
                segment = Segment(self._disk, self._directory, base)
            except FileNotFoundError:
                damage = missing_values(self._disk, self._directory, self._place, base, offset)
                if damage is not None:
                    raise damage from None
                continue
            self._settle(segment, offset)
            return

    def _settle(self, segment: Segment, offset: int) -> None:
        number, count = offset - segment.base, segment.record_count()
        if number > count:
            segment.close()
            next_base = self._base_after(segment.base)
            if next_base is not None:
                raise index_gap(segment, self._place, offset, next_base)
            end = segment.base + count
            raise OffsetOutOfRange(self._topic, self._partition, offset, segment.base, end)
        self._enter(segment, number)

    def _enter(self, segment: Segment, number: int) -> None:
        self.close()
        self._segment, self._base, self._number = segment, segment.base, number
        self._next_base = self._base_after(segment.base)
        self._end, self._crc = segment.position(number)
        if self._end >= 0:
            return
        # The entry before is damaged: find the byte and the CRC to go on from by walking.
        self._end, self._crc = self._bridge(segment, number)

    def _bridge(self, segment: Segment, number: int) -> tuple[int, int]:
        """End and running CRC before `number`, vouched for by the record `number` itself."""
        sound = number - 1
        while sound and segment.position(sound)[0] < 0:
            sound -= 1
        end, crc = segment.position(sound)
        entry, is_intact = (
            segment.entry(number) if number < segment.entry_count() else (None, False)
        )
        if entry is not None and is_intact and entry.end - entry.length >= end:
            start = entry.end - entry.length
            return start, crc32(segment.values(end, start), crc)
        return end, crc

    def close(self) -> None:
        """Close the files; the position stays, the next `read` opens them again."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None
