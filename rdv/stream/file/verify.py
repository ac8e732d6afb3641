"""Verification finds all damage in a partition and names it by path, offsets and bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

from rdv.coded import CodedText
from rdv.stream.errors import RecordsDamaged
from rdv.stream.file.chain import BEGIN, Position, Verdict, walk
from rdv.stream.file.checkpoint import known_end_of
from rdv.stream.file.damage import (
    MORE_BEHIND_SEAL,
    SEAL_HURT,
    cut_index,
    damaged_run,
    in_place_of_a_file,
    index_gap,
    is_gap,
    misfits,
    missing_segment,
    missing_values,
)
from rdv.stream.file.entry import ENTRY_BYTES, FLAGS_MASK, GAP, base_behind, runs_on, unpack_columns
from rdv.stream.file.misplaced import is_of_another, why_foreign
from rdv.stream.file.segment import Segment, end_without_index, open_segments
from rdv.stream.record import TopicPartition
from rdv.system.disk import Disk
from rdv.system.faults import faults

_ENTRIES_PER_STEP = 4096
_PIECE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class SegmentReport:
    """A `SegmentReport` states what `verify` found in one segment."""

    path: str
    base: int
    records: int
    size_bytes: int
    lost: int
    """How many offsets a repair has given up."""
    damage: tuple[RecordsDamaged, ...]
    unnamed_bytes: int = 0
    """The bytes of values at the end of the partition that no entry names: a writer was killed
    while it appended, or the index has been cut off."""


def verify_partition(
    disk: Disk, directory: str, topic: str, partition: int, read_end: int = 0
) -> Iterator[SegmentReport]:
    """Check every byte of a partition, segment by segment.

    Reads only, takes no lock; safe while other processes write. `read_end` is an end up to which a
    group is known to have read.
    """
    place = TopicPartition(topic, partition)
    with faults(directory, "read"):
        # Read before the names are listed: it may have grown since, but not fallen.
        known_end = max(read_end, known_end_of(disk, directory))
        bases = open_segments(disk, directory)
        if not bases:
            known_end = max(known_end, end_without_index(disk, directory))
        if not bases and known_end:
            damage = cut_index(disk, directory, place, 0, known_end)
            yield SegmentReport(damage.path, 0, 0, 0, 0, (damage,))
        yield from _misfits(disk, directory, place, bases)
        for base, next_base in zip(bases, [*bases[1:], None], strict=False):
            try:
                segment = Segment(disk, directory, base)
            except FileNotFoundError:
                found = missing_values(disk, directory, place, base, base)
                if found is not None and found.last_offset >= base:
                    yield SegmentReport(found.path, base, 0, 0, 0, (found,))
                continue
            with segment:
                yield _Check(disk, directory, place, segment, bases).run(next_base, known_end)


def _misfits(
    disk: Disk, directory: str, place: TopicPartition, bases: list[int]
) -> Iterator[SegmentReport]:
    """Report what lies in the place of an index or of values and is no file.

    Where a segment is reported as a gap or without its values, that report says so.
    """
    for base, paths in misfits(disk, directory).items():
        is_gap_or_without_values = base in bases or (bases and bases[0] < base < bases[-1])
        if not is_gap_or_without_values:
            reason = in_place_of_a_file(disk, paths[0]) or CodedText(
                "not_a_file", "it has just gone"
            )
            damage = RecordsDamaged(paths[0], *place, base, base, 0, 0, reason)
            yield SegmentReport(paths[0], base, 0, 0, 0, (damage,))


class _Check:
    """A `_Check` verifies one segment."""

    def __init__(
        self,
        disk: Disk,
        directory: str,
        place: TopicPartition,
        segment: Segment,
        bases: list[int],
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._place = place
        self._segment = segment
        self._bases = bases
        self._records = self._lost = 0
        self._at: Position = BEGIN

    def run(self, next_base: int | None, known_end: int) -> SegmentReport:
        """Check the segment. `next_base` is the base of the segment after it, when there is one."""
        segment, count = self._segment, self._segment.entry_count()
        if is_of_another(segment):
            return self._report_foreign(next_base or max(known_end, segment.base + count), count)
        seal = segment.seal(count)
        runs = _DamageRuns(segment, self._place)
        if not self._walk_quickly(count - (seal is not None)):
            self._walk(count, runs, next_base)
        damage = runs.finish()
        end = segment.base + count if seal is None else base_behind(segment.base, count - 1, seal)
        if seal is not None and seal.flags & FLAGS_MASK == GAP:
            self._lost += end - segment.base - (count - 1)
        damage += self._gap(end, next_base, known_end, is_sealed=seal is not None)
        size, unnamed = segment.values_size(), 0
        if next_base is None and seal is None and not damage:
            unnamed = max(0, size - (segment.entry(count - 1)[0].end if count else 0))
        return SegmentReport(
            segment.values_path, segment.base, self._records, size, self._lost, tuple(damage),
            unnamed,
        )  # fmt: skip

    def _report_foreign(self, next_base: int, count: int) -> SegmentReport:
        """Report once, not for each entry, that the segment was written as another one."""
        segment, last = self._segment, next_base - 1
        reason = why_foreign(self._disk, self._directory, segment)
        size_bytes = count * ENTRY_BYTES
        damage = RecordsDamaged(
            segment.index_path, *self._place, segment.base, last, 0, size_bytes, reason
        )
        size = segment.values_size()
        return SegmentReport(segment.values_path, segment.base, 0, size, 0, (damage,))

    def _walk_quickly(self, count: int) -> bool:
        """Return whether all entries, except the seal, are plain and sound."""
        while self._at.number < count:
            step = min(_ENTRIES_PER_STEP, count - self._at.number)
            at = _after_batch(self._segment, self._segment.entries(self._at.number, step), self._at)
            if at is None:
                return False
            self._records += step
            self._at = at
        return True

    def _walk(self, count: int, runs: _DamageRuns, next_base: int | None) -> None:
        """Check entry by entry to the end; the entry after a damaged one confirms what it can."""
        segment, first = self._segment, self._at.number
        raw = segment.entries(first, count - first)
        for verdict in walk(segment.codec, raw, segment.values, self._at):
            number = first + verdict.number
            self._records += verdict.status == "ok"
            self._lost += verdict.status == "lost"
            runs.add(number, verdict, next_base)
            if verdict.status == "sealed" and number + 1 < count:
                runs.add_behind_seal(number + 1, count)

    def _gap(
        self, end: int, next_base: int | None, known_end: int, *, is_sealed: bool
    ) -> list[RecordsDamaged]:
        """Report the offsets after this segment that are in no other."""
        if next_base is None:
            is_cut = end < known_end
            if is_cut and open_segments(self._disk, self._directory)[-1:] > [self._segment.base]:
                return []  # another segment has been begun since
            return (
                [cut_index(self._disk, self._directory, self._place, end, known_end)]
                if is_cut
                else []
            )
        if next_base <= end or not is_gap(self._disk, self._directory, self._bases, next_base):
            return []
        if is_sealed:
            return [missing_segment(self._disk, self._directory, self._place, end, next_base)]
        return [index_gap(self._segment, self._place, end, next_base)]


def _after_batch(segment: Segment, raw: bytes, at: Position) -> Position | None:
    """Return the position after a batch that is completely sound and has no flags, or None."""
    codec = segment.codec
    if not raw or not codec.intact(raw):
        return None
    ends, times, lengths, crcs, flags = unpack_columns(raw)
    if flags != codec.words(at.number, len(flags)) or not runs_on(
        ends, times, lengths, at.end, at.time_ns
    ):
        return None
    # Read in pieces, so that a batch of large values does not take their size in memory.
    position, crc = at.end, at.crc
    while position < ends[-1]:
        data = segment.values(position, min(position + _PIECE_BYTES, ends[-1]))
        if not data:
            return None
        crc = crc32(data, crc)
        position += len(data)
    number = at.number + len(raw) // ENTRY_BYTES
    return Position(number, ends[-1], crc, times[-1]) if crc == crcs[-1] else None


class _DamageRuns:
    """A `_DamageRuns` merges adjacent damaged records of one cause into one report."""

    def __init__(self, segment: Segment, place: TopicPartition) -> None:
        self._segment = segment
        self._place = place
        self._run: list[Verdict] = []
        self._first = 0
        self._damage: list[RecordsDamaged] = []

    def add(self, number: int, verdict: Verdict, next_base: int | None) -> None:
        """Add a verdict. `number` counts from the segment's first entry."""
        is_damaged = verdict.status == "damaged"
        if self._run and (not is_damaged or self._run[-1].in_index != verdict.in_index):
            self._end_run()
        offset = self._segment.base + number
        if is_damaged and verdict.in_index and offset == next_base:
            self._end_run()
            self._first, self._run = offset, [verdict._replace(reason=SEAL_HURT)]
            self._end_run()
        elif is_damaged:
            if not self._run:
                self._first = offset
            self._run.append(verdict)

    def add_behind_seal(self, number: int, count: int) -> None:
        """Report the entries from `number` on, which lie after the one that seals the segment."""
        self._end_run()
        offset, position = self._segment.base + number - 1, number * ENTRY_BYTES
        size, path = (count - number) * ENTRY_BYTES, self._segment.index_path
        self._damage.append(
            RecordsDamaged(path, *self._place, offset, offset, position, size, MORE_BEHIND_SEAL)
        )

    def finish(self) -> list[RecordsDamaged]:
        self._end_run()
        return self._damage

    def _end_run(self) -> None:
        if self._run:
            found = damaged_run(self._segment, self._place, self._first, self._run)
            self._damage.append(found)
            self._run = []
