"""The module finds files that were renamed, swapped or copied by hand, by their tags.

Each index entry names its topic, partition and segment (FORMAT.md), so `verify` can say where a
file belongs, and `repair` puts it back. Files that no longer have a place get the suffix .broken.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rdv.coded import CodedText
from rdv.stream.config import PARTITIONS_MAX
from rdv.stream.file import layout
from rdv.stream.file.chain import BEGIN, walk
from rdv.stream.file.entry import ENTRY_BYTES, FLAGS_MASK, Codec, codec_of, unpack_entry
from rdv.stream.file.lock import partition_locked
from rdv.stream.file.segment import Segment, open_segments
from rdv.stream.record import TopicPartition
from rdv.system.disk import Disk

_LOOKED_AT = 16


class Moved(NamedTuple):
    """A `Moved` is a file or directory that was put back or set aside."""

    path: str
    """The path before the move."""
    to: str


def word_of(segment: Segment) -> int | None:
    """Return the tag that the segment's entries were written with, as that of entry 0.

    Returns None when that cannot be determined: the segment is empty, damaged or of version 1. A
    sector of another index is damage like any other, so an entry near the end counts as well; the
    last one does not: it may be a seal that a writer has added to a misplaced file.
    """
    count = segment.entry_count()
    words = set()
    for number in {0, count // 2, max(0, count - 2)} if count else ():
        raw = segment.entries(number, 1)
        if raw and segment.today.intact(raw):
            tag = unpack_entry(raw).flags & ~FLAGS_MASK
            words.add((tag - number * segment.today.step) & 0xFFFFFFFF)
    return words.pop() if len(words) == 1 else None


def is_of_another(segment: Segment) -> bool:
    """Return whether the segment's entries were written as another segment."""
    word = word_of(segment)
    return word is not None and word != segment.today.first_word


def origin_of(
    disk: Disk, directory: str, place: TopicPartition, names: Iterable[str]
) -> TopicPartition | None:
    """Return the partition that `directory` was written as, if it is another one than `place`.

    `names` are the possible topics. Returns None when the directory is in order, when the origin
    cannot be determined, or when the segments disagree.
    """
    found: set[TopicPartition] | None = None
    for base in open_segments(disk, directory):
        try:
            with Segment(disk, directory, base, index_only=True) as segment:
                word = word_of(segment)
        except FileNotFoundError:
            continue
        if word is None:
            continue
        if word == _codec(place, base).first_word:
            return None
        possible = {
            origin
            for name in names
            for origin in (TopicPartition(name, n) for n in range(PARTITIONS_MAX))
            if _codec(origin, base).first_word == word
        }
        found = possible if found is None else found & possible
    return found.pop() if found is not None and len(found) == 1 else None


def _codec(place: TopicPartition, base: int) -> Codec:
    return codec_of(f"{place.topic}/{place.partition}", base)


def why_foreign(disk: Disk, directory: str, segment: Segment) -> str:
    """Return a sentence on where a segment of another place belongs."""
    word = word_of(segment)
    for base in _possible_bases(disk, directory, open_segments(disk, directory)):
        if codec_of(layout.identity(directory), base).first_word == word:
            text = f"the file is that of the segment {base}: it was renamed, swapped or copied"
            return CodedText("segment_misplaced", text)
    return CodedText("segment_misplaced", "the file belongs to another partition or topic")


def _possible_bases(disk: Disk, directory: str, bases: list[int]) -> list[int]:
    """Return the offsets at which segments may have begun: the existing ones, and after each."""
    found = {0, *bases}
    for base in bases:
        try:
            with Segment(disk, directory, base, index_only=True) as segment:
                if not is_of_another(segment):
                    found.add(segment.next_base())
        except FileNotFoundError:
            continue
    return sorted(found)


def put_segments_back(
    disk: Disk, directory: str, damaged: Iterable[int], lock_timeout_ms: int
) -> list[Moved]:
    """Rename segment files to where they belong; `damaged` are the base offsets to check.

    Takes the partition's lock when there is something to rename. Raises OSError, LockTimeout.
    """
    bases, hurt = open_segments(disk, directory), []
    origins: dict[int, int | None] = {}
    for base in damaged:
        if base in bases:
            origins[base] = _base_of(disk, directory, base, bases)
            path = layout.values_path(directory, base)
            if origins[base] == base and not _fits(disk, directory, base, path):
                hurt.append(base)
    strays = [base for base, origin in origins.items() if origin != base]
    if not strays and len(hurt) <= 1:
        return []
    with partition_locked(disk, directory, lock_timeout_ms):
        return _Sorting(disk, directory, origins, [*strays, *hurt]).run()


def _base_of(disk: Disk, directory: str, base: int, bases: list[int]) -> int | None:
    """Return the base that the segment at `base` was written with; None if it is foreign."""
    try:
        with Segment(disk, directory, base, index_only=True) as segment:
            if not is_of_another(segment):
                return base
            word = word_of(segment)
    except FileNotFoundError:
        return base
    for possible in _possible_bases(disk, directory, bases):
        if codec_of(layout.identity(directory), possible).first_word == word:
            return possible
    return None


def _fits(disk: Disk, directory: str, base: int, values_path: str) -> bool:
    """Return whether values match the index at `base`, by the first and last entries."""
    codec = codec_of(layout.identity(directory), base)
    raw = disk.read_file(layout.index_path(directory, base))
    if not disk.is_file(values_path):
        return False
    fd = disk.open(values_path)
    try:

        def values(start: int, end: int) -> bytes:
            return disk.read_all(fd, end - start, start)

        first = list(walk(codec, raw[: _LOOKED_AT * ENTRY_BYTES], values, BEGIN))
        is_whole = all(one.status != "damaged" or one.in_index for one in first)
        count = len(raw) // ENTRY_BYTES
        ends = [
            unpack_entry(raw, number * ENTRY_BYTES).end
            for number in range(count)
            if codec.holds(raw[number * ENTRY_BYTES :][:ENTRY_BYTES], number)
        ]
        return is_whole and max(ends, default=0) <= disk.size(fd)
    finally:
        disk.close(fd)


class _Sorting:
    """A `_Sorting` sets all misplaced files aside, then puts each where it belongs."""

    def __init__(
        self,
        disk: Disk,
        directory: str,
        origins: dict[int, int | None],
        moving: list[int],
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._origins = origins
        self._moving = sorted(moving)
        self._bases = [b for b in open_segments(disk, directory) if b not in moving]
        """The base offsets of the segments that stay, and of those that have been put back."""
        self._placed: list[int] = []
        self._taken: dict[str, str] = {}
        self._done: list[Moved] = []

    def run(self) -> list[Moved]:
        for base in self._moving:
            for path in self._paths(base):
                if self._disk.exists(path):
                    aside = self._disk.path_aside(path)
                    self._disk.rename(path, aside)
                    self._taken[path] = aside
        for base in self._moving:
            self._put_index_back(base)
        for base in self._placed:
            self._put_values_back(base)
        kept = [Moved(path, aside) for path, aside in self._taken.items()]
        self._disk.sync_directory(self._directory)
        return self._done + kept

    def _paths(self, base: int) -> tuple[str, str]:
        return layout.index_path(self._directory, base), layout.values_path(self._directory, base)

    def _put_index_back(self, base: int) -> None:
        path, origin = self._paths(base)[0], self._origins[base]
        if origin is None or path not in self._taken or origin in self._bases:
            return
        count = self._disk.path_size(self._taken[path]) // ENTRY_BYTES
        behind = min((b for b in self._bases if b > origin), default=None)
        if behind is not None and origin + count - 1 > behind:
            return  # its offsets have been used again
        self._move(path, self._paths(origin)[0])
        self._bases.append(origin)
        self._placed.append(origin)

    def _put_values_back(self, base: int) -> None:
        """Find the values for the index that is at `base` now."""
        wanted = self._paths(base)[1]
        # The segment's own values come first, if they match as well as others: damage in them
        # stays.
        mine = [wanted] if wanted in self._taken else []
        for path in [*mine, *(p for p in self._taken if p.endswith(layout.VALUES_SUFFIX))]:
            if _fits(self._disk, self._directory, base, self._taken[path]):
                self._move(path, wanted)
                return
        if mine:
            self._move(wanted, wanted)

    def _move(self, path: str, target: str) -> None:
        self._disk.rename(self._taken.pop(path), target)
        if path != target:
            self._done.append(Moved(path, target))
