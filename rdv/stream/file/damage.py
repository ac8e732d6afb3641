"""These functions describe damage as an error that names path, offsets, bytes and reason."""

from __future__ import annotations

from rdv.coded import CodedText
from rdv.stream.errors import RecordsDamaged
from rdv.stream.file import layout
from rdv.stream.file.chain import Verdict
from rdv.stream.file.checkpoint import known_end_of
from rdv.stream.file.entry import ENTRY_BYTES
from rdv.stream.file.segment import Segment, open_segments
from rdv.stream.record import TopicPartition
from rdv.system.disk import Disk

SEAL_HURT = CodedText("seal_damaged", "the sealing entry is damaged; no record is affected")
MORE_BEHIND_SEAL = CodedText(
    "entries_behind_seal", "there are entries behind the sealing one; no record is affected"
)


def damaged_run(
    segment: Segment, place: TopicPartition, first: int, run: list[Verdict]
) -> RecordsDamaged:
    """Return the error for adjacent damaged records, the first of which has the offset `first`."""
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
    """Return the error for an index that ends before `next_base`, where the next segment begins."""
    count = first - segment.base
    return RecordsDamaged(
        segment.index_path,
        *place,
        first,
        next_base - 1,
        count * ENTRY_BYTES,
        (next_base - first) * ENTRY_BYTES,
        CodedText("index_cut_off", "the index ends before the next segment begins"),
    )


def missing_segment(
    disk: Disk, directory: str, place: TopicPartition, first: int, next_base: int
) -> RecordsDamaged:
    """Return the error for a missing segment at `first`, where one exists at `next_base`."""
    path = layout.index_path(directory, first)
    reason = in_place_of_a_file(disk, path)
    if not reason:
        reason = CodedText("segment_missing", "the segment is missing")
        if disk.is_file(layout.values_path(directory, first)):
            text = "the index is missing: nothing says where its values begin and end"
            reason = CodedText("index_missing", text)
    return RecordsDamaged(path, *place, first, next_base - 1, 0, 0, reason)


def cut_index(
    disk: Disk, directory: str, place: TopicPartition, first: int, known_end: int
) -> RecordsDamaged:
    """Return the error for a partition that ends at `first` but had reached `known_end`."""
    bases = open_segments(disk, directory)
    base = bases[-1] if bases else 0
    path, position = layout.index_path(directory, base), (first - base) * ENTRY_BYTES
    text = f"the index has been cut off, or a file is missing: it had reached offset {known_end}"
    reason = CodedText("index_cut_off", text)
    size = (known_end - first) * ENTRY_BYTES
    return RecordsDamaged(path, *place, first, known_end - 1, position, size, reason)


def missing_partition(disk: Disk, directory: str, place: TopicPartition) -> RecordsDamaged | None:
    """Return the error for a deleted partition directory; how many records it had is unknown."""
    if disk.is_directory(directory):
        return None
    text = "the partition's directory is missing; the next append makes it anew"
    reason = CodedText("partition_missing", text)
    return RecordsDamaged(directory, *place, 0, 0, 0, 0, reason)


def is_gap(disk: Disk, directory: str, bases: list[int], base: int) -> bool:
    """Return whether the segment at `base`, which is not among `bases`, has been lost by accident.

    Retention deletes from the front: as long as an earlier segment exists, it has not deleted this
    one.
    """
    earlier = [b for b in bases if b < base]
    # Checked again: the names may have been read before, and after, retention deleted both.
    return bool(earlier) and disk.is_file(layout.index_path(directory, earlier[-1]))


def missing_values(
    disk: Disk, directory: str, place: TopicPartition, base: int, first: int
) -> RecordsDamaged | None:
    """Return the error for an index without its values; None when retention has deleted both.

    The last offset is below `first` when the index has no record from there on.
    """
    try:
        with Segment(disk, directory, base, index_only=True) as segment:
            if disk.is_file(segment.values_path):
                return None
            later = [b for b in open_segments(disk, directory) if b > base]
            end = later[0] if later else base + segment.record_count()
            if not later:
                end = max(end, known_end_of(disk, directory))
            reason = in_place_of_a_file(disk, segment.values_path)
            reason = reason or CodedText("values_missing", "the file is missing")
            return RecordsDamaged(segment.values_path, *place, first, end - 1, 0, 0, reason)
    except FileNotFoundError:
        return None


def in_place_of_a_file(disk: Disk, path: str) -> CodedText:
    """Return a sentence on what is at `path` in place of a regular file; empty for nothing."""
    text = "something that is no file is in its place"
    return CodedText("not_a_file", text if disk.exists(path) else "")


def misfits(disk: Disk, directory: str) -> dict[int, list[str]]:
    """Return the paths at which a segment's file belongs and something else is, by base offset."""
    try:
        names = set(disk.list_directory(directory)) - set(disk.list_files(directory))
    except FileNotFoundError:
        return {}
    found: dict[int, list[str]] = {}
    for name in sorted(names):
        stem, _, suffix = name.rpartition(".")
        path = f"{directory}/{name}"
        is_ours = f".{suffix}" in (layout.INDEX_SUFFIX, layout.VALUES_SUFFIX)
        if is_ours and stem.isdigit() and not disk.is_file(path) and disk.exists(path):
            found.setdefault(int(stem), []).append(path)
    return found
