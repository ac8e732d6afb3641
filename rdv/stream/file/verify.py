"""Finding all damage in a partition, and naming it by path, offsets and bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

from rdv.stream.errors import RecordsDamaged
from rdv.stream.file.chain import Verdict, walk
from rdv.stream.file.damage import SEAL_HURT, damaged_run, index_gap, missing_values
from rdv.stream.file.disk import Disk, faults
from rdv.stream.file.entry import intact, unpack_columns
from rdv.stream.file.segment import Segment, open_segments
from rdv.stream.record import TopicPartition

_ENTRIES_PER_STEP = 4096


@dataclass(frozen=True)
class SegmentReport:
    """What `verify` found in one segment."""

    path: str
    base: int
    records: int
    size_bytes: int
    lost: int
    damage: tuple[RecordsDamaged, ...]


def verify_partition(
    disk: Disk, directory: str, topic: str, partition: int
) -> Iterator[SegmentReport]:
    """Check every byte of a partition, segment by segment. Reads only; safe while others write."""
    with faults(directory, "read"):
        bases = open_segments(disk, directory)
        for base, next_base in pairwise([*bases, -1]):
            try:
                segment = Segment(disk, directory, base)
            except FileNotFoundError:
                damage = missing_values(
                    disk, directory, TopicPartition(topic, partition), base, base
                )
                if damage is not None:
                    yield SegmentReport(damage.path, base, 0, 0, 0, (damage,))
                continue
            with segment:
                yield _verify_segment(segment, TopicPartition(topic, partition), next_base)


def _verify_segment(segment: Segment, place: TopicPartition, next_base: int) -> SegmentReport:
    count = segment.entry_count()
    end = crc = number = records = lost = 0
    runs = _DamageRuns(segment, place)
    while number < count:
        step = min(_ENTRIES_PER_STEP, count - number)
        raw = segment.entries(number, step)
        quick = _quick_step(segment, raw, end, crc)
        if quick is not None:
            end, crc = quick
            records += step
            number += step
            continue
        # Walk to the end of the segment: a damaged entry is bridged by what comes after it.
        for verdict in walk(segment.entries(number, count - number), segment.values, end, crc):
            records += verdict.status == "ok"
            lost += verdict.status == "lost"
            runs.add(number + verdict.number, verdict, next_base)
        break
    runs.check_gap(count, next_base)
    size = segment.values_size()
    return SegmentReport(
        segment.values_path, segment.base, records, size, lost, tuple(runs.finish())
    )


def _quick_step(segment: Segment, raw: bytes, end: int, crc: int) -> tuple[int, int] | None:
    """End and CRC after a batch that is wholly sound and has no flags; None otherwise."""
    if not raw or not intact(raw):
        return None
    ends, _, lengths, crcs, flags = unpack_columns(raw)
    if any(flags) or ends[-1] - end != sum(lengths):
        return None
    previous = end
    for stop, length in zip(ends, lengths, strict=True):
        if stop - length != previous:
            return None
        previous = stop
    # In pieces, so that a batch of large values does not take their size in memory.
    position, piece_bytes = end, 8 * 1024 * 1024
    while position < ends[-1]:
        data = segment.values(position, min(position + piece_bytes, ends[-1]))
        if not data:
            return None
        crc = crc32(data, crc)
        position += len(data)
    return (ends[-1], crc) if crc == crcs[-1] else None


class _DamageRuns:
    """Adjacent damaged records of one cause become one report."""

    def __init__(self, segment: Segment, place: TopicPartition) -> None:
        self._segment = segment
        self._place = place
        self._run: list[Verdict] = []
        self._first = 0
        self._damage: list[RecordsDamaged] = []

    def add(self, number: int, verdict: Verdict, next_base: int) -> None:
        """`number` counts from the segment's first entry."""
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

    def check_gap(self, count: int, next_base: int) -> None:
        """The index must reach to the next segment."""
        self._end_run()
        end = self._segment.base + count
        if next_base > end:
            self._damage.append(index_gap(self._segment, self._place, end, next_base))

    def finish(self) -> list[RecordsDamaged]:
        self._end_run()
        return self._damage

    def _end_run(self) -> None:
        if self._run:
            found = damaged_run(self._segment, self._place, self._first, self._run)
            self._damage.append(found)
            self._run = []
