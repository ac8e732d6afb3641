"""Damage as an error that names it: path, offsets, bytes, reason."""

from __future__ import annotations

from rdv.stream.errors import RecordsDamaged
from rdv.stream.file.chain import Verdict
from rdv.stream.file.disk import Disk
from rdv.stream.file.entry import ENTRY_BYTES
from rdv.stream.file.segment import Segment, open_segments
from rdv.stream.record import TopicPartition

SEAL_HURT = "the sealing entry is damaged; no record is affected"


def damaged_run(
    segment: Segment, place: TopicPartition, first: int, run: list[Verdict]
) -> RecordsDamaged:
    """Adjacent damaged records, the first of which has the offset `first`."""
    verdict = run[0]
    path, start, end = segment.values_path, verdict.start, run[-1].end
    if verdict.in_index:
        path, start = segment.index_path, (first - segment.base) * ENTRY_BYTES
        end = start + len(run) * ENTRY_BYTES
    last, size = first + len(run) - 1, max(0, end - start)
    return RecordsDamaged(path, *place, first, last, start, size, verdict.reason)


def index_gap(
    segment: Segment, place: TopicPartition, first: int, next_base: int
) -> RecordsDamaged:
    """The index ends before `next_base`, where the next segment begins."""
    count = first - segment.base
    return RecordsDamaged(
        segment.index_path,
        *place,
        first,
        next_base - 1,
        count * ENTRY_BYTES,
        (next_base - first) * ENTRY_BYTES,
        "the index ends before the next segment begins",
    )


def missing_values(
    disk: Disk, directory: str, place: TopicPartition, base: int, first: int
) -> RecordsDamaged | None:
    """An index without its values is damage; None when both are gone (retention took them)."""
    try:
        with Segment(disk, directory, base, index_only=True) as segment:
            if disk.exists(segment.values_path):
                return None
            later = [b for b in open_segments(disk, directory) if b > base]
            end = later[0] if later else base + segment.record_count()
            last = max(first, end - 1)
            reason = "the file is missing"
            return RecordsDamaged(segment.values_path, *place, first, last, 0, 0, reason)
    except FileNotFoundError:
        return None
