"""A `ReadPlace` is where a reader is in a partition; it finds the next segment, or an offset."""

from __future__ import annotations

from bisect import bisect_right
from zlib import crc32

from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost
from rdv.stream.file.chain import BEGIN, Position
from rdv.stream.file.checkpoint import known_end_of
from rdv.stream.file.damage import cut_index, index_gap, is_gap, missing_segment, missing_values
from rdv.stream.file.segment import Segment, end_without_index, open_segments
from rdv.stream.record import TopicPartition
from rdv.system.disk import Disk


class ReadPlace:
    """A `ReadPlace` is an open segment, and a number in it. Not thread-safe.

    Raises RecordsDamaged, RecordsLost (the place is unknown then), OffsetOutOfRange and OSError.
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
        self._end, self._crc, self._time_ns = BEGIN[1:]
        self._next_base: int | None = None
        self._known_end = 0
        self.is_drained = False

    @property
    def is_open(self) -> bool:
        return self._segment is not None

    def _is_end(self, ahead: int = 0) -> bool:
        """Return whether, as far as is known, no record is `ahead` entries after the position."""
        return self._next_base is None and self._base + self._number + ahead >= self._known_end

    def _base_after(self, base: int) -> int | None:
        later = [b for b in open_segments(self._disk, self._directory) if b > base]
        return later[0] if later else None

    def _next_segment(self, base: int) -> bool:
        """Continue with the segment at `base`; False when it does not exist yet."""
        disk, directory = self._disk, self._directory
        while True:
            try:
                segment = Segment(disk, directory, base)
            except FileNotFoundError:
                damage = missing_values(disk, directory, self._place, base, base)
                if damage is not None and damage.last_offset < base:
                    return False
                if damage is not None:
                    raise damage from None
                bases = open_segments(disk, directory)
                if base in bases:
                    continue  # made in this very moment, and perhaps sealed already
                later = [b for b in bases if b > base]
                if not later:
                    return self._is_made_later(base)
                if is_gap(disk, directory, bases, base):
                    raise missing_segment(disk, directory, self._place, base, later[0]) from None
                raise self._lost(base, later[0]) from None
            self._enter(segment, 0)
            return True

    def _is_made_later(self, base: int) -> bool:
        """Return False when no writer has begun the segment at `base` yet.

        Raises RecordsDamaged when it is known to have existed.
        """
        known_end = known_end_of(self._disk, self._directory)
        if base < known_end and self._base_after(base - 1) is None:
            raise cut_index(self._disk, self._directory, self._place, base, known_end)
        return False

    def _lost(self, offset: int, next_base: int) -> RecordsLost:
        self._wait_for(-1)
        return RecordsLost(self._topic, self._partition, offset, next_base - 1)

    def _wait_for(self, base: int) -> None:
        """Move to the start of a segment that does not exist yet; -1 means no position."""
        self.close()
        self._base, self._number, self._next_base = base, 0, None

    def _seek(self, offset: int) -> None:
        """Go to `offset` in any segment, which retention may delete at the same time."""
        disk, directory = self._disk, self._directory
        while True:
            bases = open_segments(disk, directory)
            if not bases:
                known_end = known_end_of(disk, directory)
                known_end = max(known_end, end_without_index(disk, directory))
                if offset < known_end and not open_segments(disk, directory):
                    raise cut_index(disk, directory, self._place, offset, known_end)
                if offset != known_end:
                    raise OffsetOutOfRange(self._topic, self._partition, offset, 0, known_end)
                self._wait_for(offset)  # a segment that is open still belongs to deleted files
                self.is_drained = True  # the first commit will be announced
                return
            if offset < bases[0]:
                raise self._lost(offset, bases[0])
            base = bases[bisect_right(bases, offset) - 1]
            try:
                segment = Segment(disk, directory, base)
            except FileNotFoundError:
                damage = missing_values(disk, directory, self._place, base, offset)
                if damage is None:
                    continue
                if damage.last_offset >= offset:
                    raise damage from None
                self._wait_for(offset)
                return
            if self._settle(segment, offset):
                return

    def _settle(self, segment: Segment, offset: int) -> bool:
        """Go to `offset` in this segment, or in a gap after it; False to search again."""
        number = offset - segment.base
        if number <= segment.record_count():
            self._enter(segment, number)
            return True
        disk, directory = self._disk, self._directory
        known_end = known_end_of(disk, directory)  # before the next look: it may have grown
        count, end, is_sealed = segment.record_count(), segment.next_base(), segment.is_sealed()
        segment.close()
        next_base = self._base_after(segment.base)
        if number <= count or (next_base is not None and next_base <= offset):
            return False
        if offset < end:
            # The offset lies in a gap that a repair has left.
            if not self._next_segment(end):
                self._wait_for(end)
        elif next_base is not None:
            raise self._gap(segment, offset, next_base, is_sealed=is_sealed)
        elif offset < known_end:
            raise cut_index(disk, directory, self._place, offset, known_end)
        elif offset > max(end, known_end):
            begin = segment.base
            raise OffsetOutOfRange(self._topic, self._partition, offset, begin, max(end, known_end))
        else:
            self._wait_for(offset)
        return True

    def _gap(
        self, segment: Segment, first: int, next_base: int, *, is_sealed: bool
    ) -> RecordsDamaged:
        """Return the damage of offsets between this segment and the next that have no segment."""
        if not is_sealed:
            return index_gap(segment, self._place, first, next_base)
        return missing_segment(self._disk, self._directory, self._place, first, next_base)

    def _enter(self, segment: Segment, number: int) -> None:
        self.close()
        self._segment, self._base = segment, segment.base
        self._next_base = self._base_after(segment.base)
        self._known_end = 0
        if self._next_base is None:
            self._known_end = known_end_of(self._disk, self._directory)
        self._go_to(segment.position(number) or self._bridge(segment, number))

    def _bridge(self, segment: Segment, number: int) -> Position:
        """Return the position before `number`, confirmed by the record `number` itself.

        The entry before is damaged: the byte and the CRC to continue from are found by walking.
        """
        sound = number - 1
        while (before := segment.position(sound)) is None:
            sound -= 1
        _, end, crc, time_ns = before
        entry, is_sound = segment.entry(number)
        if is_sound and entry.end - entry.length >= end:
            start = entry.end - entry.length
            return Position(number, start, crc32(segment.values(end, start), crc), time_ns)
        return Position(number, end, crc, time_ns)

    def _go_to(self, at: Position) -> None:
        self._number, self._end, self._crc, self._time_ns = at

    def close(self) -> None:
        """Close the files; the position stays, the next `read` opens them again."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None
