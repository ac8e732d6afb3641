"""A `Segment` is open for reading: fixed-width look-ups in the index, ranges of the values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rdv.stream.file import layout
from rdv.stream.file.chain import BEGIN, Position
from rdv.stream.file.entry import (
    ENTRY_BYTES,
    SEALED,
    Codec,
    Entry,
    base_behind,
    codec_of,
    recognise,
    unpack_entry,
    whole,
)
from rdv.system.disk import Disk

NEVER_NS = 2**63 - 1
"""The time of a record that is damaged and followed only by damaged ones, in nanoseconds."""

_NO_ENTRY = unpack_entry(bytes(ENTRY_BYTES))
_ENTRIES_PER_STEP = 4096


class Segment:
    """A `Segment` has its two files open for reading. Not thread-safe.

    Raises FileNotFoundError when retention has deleted it.
    """

    def __init__(self, disk: Disk, directory: str, base: int, *, index_only: bool = False) -> None:
        self.base = base
        self.index_path = layout.index_path(directory, base)
        self.values_path = layout.values_path(directory, base)
        self.today = codec_of(layout.identity(directory), base)
        """The codec if the segment has the current format."""
        self._codec: Codec | None = None
        self._disk = disk
        self.index_fd = disk.open(self.index_path)
        self.values_fd = -1
        if index_only:
            return
        try:
            self.values_fd = disk.open(self.values_path)
        except BaseException:
            disk.close(self.index_fd)
            raise

    def close(self) -> None:
        for fd in (self.index_fd, self.values_fd):
            if fd >= 0:
                self._disk.close(fd)
        self.index_fd = self.values_fd = -1

    def __enter__(self) -> Segment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def codec(self) -> Codec:
        """Return the codec of the index; the current one without an entry of another format."""
        if self._codec is None:
            count = self.entry_count()
            if not count:
                return self.today
            ends = [recognise(self.today, [self._numbered(n)]) for n in {0, count - 1}]
            if ends[0] is not ends[-1] or ends[0] is None:
                ends = [recognise(self.today, self._all_entries(count))]
            self._codec = ends[0] or self.today
        return self._codec

    def _numbered(self, number: int) -> tuple[int, bytes]:
        return number, self._disk.pread(self.index_fd, ENTRY_BYTES, number * ENTRY_BYTES)

    def _all_entries(self, count: int) -> Iterator[tuple[int, bytes]]:
        for first in range(0, count, _ENTRIES_PER_STEP):
            data = self.entries(first, min(_ENTRIES_PER_STEP, count - first))
            for at in range(0, len(data), ENTRY_BYTES):
                yield first + at // ENTRY_BYTES, data[at : at + ENTRY_BYTES]

    def entry_count(self) -> int:
        """Return how many index entries there are, including the sealing one."""
        return whole(self._disk.size(self.index_fd)) // ENTRY_BYTES

    def entry(self, number: int) -> tuple[Entry, bool]:
        """Return the entry, and whether it is intact and at its place."""
        raw = self._disk.pread(self.index_fd, ENTRY_BYTES, number * ENTRY_BYTES)
        if len(raw) < ENTRY_BYTES:
            return _NO_ENTRY, False
        is_sound = self.today.holds(raw, number) or self.codec.holds(raw, number)
        return unpack_entry(raw), is_sound

    def entries(self, first: int, count: int) -> bytes:
        """Return the bytes of up to `count` complete entries."""
        data = self._disk.pread(self.index_fd, count * ENTRY_BYTES, first * ENTRY_BYTES)
        return data[: whole(len(data))]

    def values(self, start: int, end: int) -> bytes:
        """Return the bytes `start` to `end` of the values, fewer when the file is shorter."""
        return self._disk.read_all(self.values_fd, end - start, start) if end > start else b""

    def values_size(self) -> int:
        return self._disk.size(self.values_fd)

    def seal(self, count: int) -> Entry | None:
        """Return the sealing entry, when the last of `count` entries is one."""
        if not count:
            return None
        entry, is_sound = self.entry(count - 1)
        return entry if is_sound and entry.flags & SEALED else None

    def is_sealed(self) -> bool:
        return self.seal(self.entry_count()) is not None

    def record_count(self) -> int:
        """Return how many offsets are in this segment: entries without the sealing one."""
        # The seal is looked for at that very count: a writer may be sealing in this moment.
        count = self.entry_count()
        return count - (self.seal(count) is not None)

    def next_base(self) -> int:
        """Return the offset after this segment, and after a gap that a repair has left there."""
        count = self.entry_count()
        seal = self.seal(count)
        return self.base + count if seal is None else base_behind(self.base, count - 1, seal)

    def position(self, number: int) -> Position | None:
        """Return the position before the entry `number`; None if the previous one is damaged."""
        if not number:
            return BEGIN
        entry, is_sound = self.entry(number - 1)
        return Position(number, entry.end, entry.crc, entry.time_ns) if is_sound else None

    def first_at(self, time_ns: int) -> int:
        """Return the number of the first record appended at or after `time_ns` (binary search)."""
        low, high = 0, self.record_count()
        while low < high:
            middle = (low + high) // 2
            if self.time_ns(middle, high) < time_ns:
                low = middle + 1
            else:
                high = middle
        return low

    def time_ns(self, number: int, stop: int) -> int:
        """Return a record's time; for a damaged entry that of the next sound one."""
        for candidate in range(number, stop):
            entry, is_sound = self.entry(candidate)
            if is_sound:
                return entry.time_ns
        return NEVER_NS


def open_segments(disk: Disk, directory: str) -> list[int]:
    """Return the base offsets of a partition's segments; empty when it has none yet."""
    try:
        return layout.segment_bases(disk.list_files(directory))
    except FileNotFoundError:
        return []


def end_without_index(disk: Disk, directory: str) -> int:
    """Return the end of a partition that has no index, by the lines of its values; 0 for none."""
    end = 0
    for base in values_without_index(disk, directory):
        with contextlib.suppress(FileNotFoundError):
            data = disk.read_file(layout.values_path(directory, base))
            if data:  # an empty file holds no records
                end = max(end, base + data.count(b"\n"))
    return end


def values_without_index(disk: Disk, directory: str) -> list[int]:
    """Return base offsets of values without index: it was lost, or a deletion was interrupted."""
    try:
        names = set(disk.list_files(directory))
    except FileNotFoundError:
        return []
    stems = (name.removesuffix(layout.VALUES_SUFFIX) for name in names
             if name.endswith(layout.VALUES_SUFFIX))  # fmt: skip
    return sorted(
        int(stem) for stem in stems if stem.isdigit() and stem + layout.INDEX_SUFFIX not in names
    )
