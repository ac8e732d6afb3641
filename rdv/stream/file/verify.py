"""Finding all damage in a partition, and naming it by path, offsets and bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

from rdv.stream.errors import RecordsDamaged
from rdv.stream.file import layout
from rdv.stream.file.chain import Verdict, walk
from rdv.stream.file.disk import Disk, faults
from rdv.stream.file.entry import ENTRY_BYTES, intact, unpack_entries, whole
from rdv.stream.file.segment import Segment, open_segments

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
            except FileNotFoundError as error:
                damage = _missing_values(disk, directory, topic, partition, base)
                if damage is not None:
                    yield SegmentReport(str(error.filename), base, 0, 0, 0, (damage,))
                continue
            with segment:
                yield _verify_segment(segment, topic, partition, next_base)


def _missing_values(
    disk: Disk, directory: str, topic: str, partition: int, base: int
) -> RecordsDamaged | None:
    """An index without values is damage, unless retention has just taken both."""
    index_path = layout.index_path(directory, base)
    if not disk.exists(index_path):
        return None
    count = whole(disk.path_size(index_path)) // ENTRY_BYTES
    return RecordsDamaged(
        layout.values_path(directory, base),
        topic,
        partition,
        base,
        base + max(0, count - 1),
        0,
        0,
        "the file is missing",
    )


def _verify_segment(segment: Segment, topic: str, partition: int, next_base: int) -> SegmentReport:
    count = segment.entry_count()
    end = crc = number = records = lost = 0
    runs = _DamageRuns(segment, topic, partition)
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
    ends, _, lengths, crcs, flags, _ = zip(*unpack_entries(raw), strict=True)
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

    def __init__(self, segment: Segment, topic: str, partition: int) -> None:
        self._segment = segment
        self._topic = topic
        self._partition = partition
        self._run: list[tuple[int, Verdict]] = []
        self._damage: list[RecordsDamaged] = []

    def add(self, number: int, verdict: Verdict, next_base: int) -> None:
        if self._run and (
            verdict.status != "damaged" or self._run[-1][1].in_index != verdict.in_index
        ):
            self._end_run()
        if verdict.status == "damaged":
            if verdict.in_index and self._segment.base + number == next_base:
                reason = "the sealing entry is damaged; no record is affected"
                self._report(number, number, verdict._replace(reason=reason))
            else:
                self._run.append((number, verdict))

    def check_gap(self, count: int, next_base: int) -> None:
        """The index must reach to the next segment."""
        self._end_run()
        base = self._segment.base
        if next_base > base + count:
            self._damage.append(
                RecordsDamaged(
                    self._segment.index_path,
                    self._topic,
                    self._partition,
                    base + count,
                    next_base - 1,
                    count * ENTRY_BYTES,
                    (next_base - base - count) * ENTRY_BYTES,
                    "the index ends before the next segment begins",
                )
            )

    def finish(self) -> list[RecordsDamaged]:
        self._end_run()
        return self._damage

    def _end_run(self) -> None:
        if self._run:
            self._report(self._run[0][0], self._run[-1][0], self._run[0][1], self._run[-1][1])
            self._run = []

    def _report(
        self, first: int, last: int, verdict: Verdict, final: Verdict | None = None
    ) -> None:
        segment = self._segment
        position, stop = verdict.start, (final or verdict).end
        if verdict.in_index:
            position, stop = first * ENTRY_BYTES, (last + 1) * ENTRY_BYTES
        self._damage.append(
            RecordsDamaged(
                segment.index_path if verdict.in_index else segment.values_path,
                self._topic,
                self._partition,
                segment.base + first,
                segment.base + last,
                position,
                max(0, stop - position),
                verdict.reason,
            )
        )
