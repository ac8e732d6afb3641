"""Reading one partition forward: whole batches with two system calls and two CRC calls."""

from __future__ import annotations

from bisect import bisect_right
from itertools import repeat
from zlib import crc32

from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost
from rdv.stream.file import layout
from rdv.stream.file.chain import Verdict, walk
from rdv.stream.file.disk import Disk, os_fault
from rdv.stream.file.entry import ENTRY_BYTES, SEALED, intact, unpack_entries
from rdv.stream.file.segment import Segment, open_segments
from rdv.stream.record import Record

ENTRIES_PER_READ_MAX = 8192


class PartitionReader:
    """The read side of one partition, at one position. Not thread-safe.

    Everything that is handed out has passed its CRC. Raises RecordsDamaged (the position stays in
    front of the damage), RecordsLost (retention was faster; the position moves behind the loss)
    and SystemFaults.
    """

    def __init__(self, disk: Disk, directory: str, topic: str, partition: int) -> None:
        self._disk = disk
        self._directory = directory
        self._topic = topic
        self._partition = partition
        self._segment: Segment | None = None
        self._base = -1
        self._number = 0
        self._end = self._crc = 0

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
            return self._disk.path_size(path) >= size
        except FileNotFoundError:
            return True
        except OSError as error:
            raise os_fault(error, self._directory, "read") from error

    def read(self, offset: int, max_records: int, max_bytes: int) -> list[Record]:
        """Up to `max_records` records from `offset` on, at most about `max_bytes`, at least one.

        An empty list means that there are none yet. Never spans two segments.
        """
        try:
            if self._segment is None or self._base + self._number != offset:
                self._seek(offset)
            return self._read(max_records, max_bytes)
        except OSError as error:
            raise os_fault(error, self._directory, "read") from error

    def skip_to(self) -> int:
        """The offset behind records that `repair` has given up, after an empty `read`."""
        return self._base + self._number

    def _read(self, max_records: int, max_bytes: int) -> list[Record]:
        while (segment := self._segment) is not None:
            size = min(max_records, ENTRIES_PER_READ_MAX) * ENTRY_BYTES
            raw = self._disk.pread(segment.index_fd, size, self._number * ENTRY_BYTES)
            if not raw:
                return []
            if len(raw) % ENTRY_BYTES:
                raw = raw[: -(len(raw) % ENTRY_BYTES)]
            if not raw:
                return []
            if not intact(raw):
                return self._read_carefully(segment, raw)
            entries = unpack_entries(raw)
            if entries[-1][4] & SEALED:
                del entries[-1]
                raw = raw[:-ENTRY_BYTES]
            if entries:
                return self._batch(segment, raw, entries, max_bytes)
            if not self._next_segment(self._base + self._number):
                return []
        return []

    def _batch(
        self,
        segment: Segment,
        raw: bytes,
        entries: list[tuple[int, int, int, int, int, int]],
        max_bytes: int,
    ) -> list[Record]:
        start = self._end
        if entries[-1][0] - start > max_bytes:
            limit = [entry[0] for entry in entries]
            del entries[max(1, bisect_right(limit, start + max_bytes)) :]
            raw = raw[: len(entries) * ENTRY_BYTES]
        ends, times, lengths, crcs, flags, _ = zip(*entries, strict=True)
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
        if count == 1:
            return [Record(self._topic, self._partition, offset, times[0], data)]
        stops = [stop - start for stop in ends]
        values = map(data.__getitem__, map(slice, (0, *stops), stops))
        return list(
            map(
                Record,
                repeat(self._topic),
                repeat(self._partition),
                range(offset, offset + count),
                times,
                values,
            )
        )

    def _read_carefully(self, segment: Segment, raw: bytes) -> list[Record]:
        """Hand out what is sound before the damage; raise when there is nothing before it."""
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
            return records
        if first > self._base and self._next_segment(first):
            # Only the sealing entry was hurt: nothing is missing, `verify` will name it.
            return self._read(len(raw) // ENTRY_BYTES, ENTRIES_PER_READ_MAX)
        raise self._damage(segment, first, damaged)

    def _damage(self, segment: Segment, first: int, damaged: list[Verdict]) -> RecordsDamaged:
        verdict = damaged[0]
        position, size = verdict.start, max(0, verdict.end - verdict.start)
        if verdict.in_index:
            position, size = self._number * ENTRY_BYTES, ENTRY_BYTES * len(damaged)
        return RecordsDamaged(
            path=segment.index_path if verdict.in_index else segment.values_path,
            topic=self._topic,
            partition=self._partition,
            first_offset=first,
            last_offset=first + len(damaged) - 1,
            position_bytes=position,
            size_bytes=size,
            reason=verdict.reason,
        )

    def _next_segment(self, base: int) -> bool:
        """Go on with the segment at `base`; False when it is not there yet."""
        try:
            segment = Segment(self._disk, self._directory, base)
        except FileNotFoundError:
            later = [b for b in open_segments(self._disk, self._directory) if b > base]
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
        for _ in range(10):
            bases = open_segments(self._disk, self._directory)
            if not bases and not offset:
                return
            if not bases:
                raise OffsetOutOfRange(self._topic, self._partition, offset, 0, 0)
            if offset < bases[0]:
                raise self._lost(offset, bases[0])
            place = bisect_right(bases, offset) - 1
            try:
                segment = Segment(self._disk, self._directory, bases[place])
            except FileNotFoundError:
                continue
            self._settle(segment, offset, bases[place + 1] if place + 1 < len(bases) else None)
            return
        raise RecordsLost(self._topic, self._partition, offset, offset)

    def _settle(self, segment: Segment, offset: int, next_base: int | None) -> None:
        number, count = offset - segment.base, segment.record_count()
        if number > count:
            segment.close()
            if next_base is None:
                raise OffsetOutOfRange(
                    self._topic, self._partition, offset, segment.base, segment.base + count
                )
            self._raise_gap(segment, offset, next_base, count)
        is_short = number == count and next_base is not None and offset < next_base
        if is_short and next_base is not None and not segment.is_sealed():
            segment.close()
            self._raise_gap(segment, offset, next_base, count)
        self._enter(segment, number)

    def _raise_gap(self, segment: Segment, offset: int, next_base: int, count: int) -> None:
        raise RecordsDamaged(
            path=segment.index_path,
            topic=self._topic,
            partition=self._partition,
            first_offset=offset,
            last_offset=next_base - 1,
            position_bytes=count * ENTRY_BYTES,
            size_bytes=(next_base - segment.base - count) * ENTRY_BYTES,
            reason="the index ends before the next segment begins",
        )

    def _enter(self, segment: Segment, number: int) -> None:
        self.close()
        self._segment, self._base, self._number = segment, segment.base, number
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
