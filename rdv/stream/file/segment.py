"""One segment, open for reading: fixed-width look-ups in the index, ranges of the values."""

from __future__ import annotations

from rdv.stream.file import layout
from rdv.stream.file.disk import Disk
from rdv.stream.file.entry import ENTRY_BYTES, SEALED, Entry, intact, unpack_entry, whole


class Segment:
    """A segment's two files, open for reading. Not thread-safe.

    Raises FileNotFoundError when retention has deleted it.
    """

    def __init__(self, disk: Disk, directory: str, base: int, *, index_only: bool = False) -> None:
        self.base = base
        self.index_path = layout.index_path(directory, base)
        self.values_path = layout.values_path(directory, base)
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

    def entry_count(self) -> int:
        """Index entries, the sealing one included."""
        return whole(self._disk.size(self.index_fd)) // ENTRY_BYTES

    def entry(self, number: int) -> tuple[Entry, bool]:
        """The entry and whether it is intact."""
        raw = self._disk.pread(self.index_fd, ENTRY_BYTES, number * ENTRY_BYTES)
        return unpack_entry(raw), intact(raw)

    def entries(self, first: int, count: int) -> bytes:
        """The bytes of up to `count` whole entries."""
        data = self._disk.pread(self.index_fd, count * ENTRY_BYTES, first * ENTRY_BYTES)
        return data[: whole(len(data))]

    def values(self, start: int, end: int) -> bytes:
        """The bytes `start` to `end` of the values, fewer when the file is shorter."""
        return self._disk.read_all(self.values_fd, end - start, start) if end > start else b""

    def values_size(self) -> int:
        return self._disk.size(self.values_fd)

    def is_sealed(self) -> bool:
        count = self.entry_count()
        if not count:
            return False
        entry, is_intact = self.entry(count - 1)
        return is_intact and bool(entry.flags & SEALED)

    def record_count(self) -> int:
        """Offsets in this segment: entries without the sealing one."""
        count = self.entry_count()
        if not count:
            return 0
        # Of that very count: a writer may be sealing in this moment.
        entry, is_intact = self.entry(count - 1)
        return count - (is_intact and bool(entry.flags & SEALED))

    def position(self, number: int) -> tuple[int, int]:
        """End and running CRC before the entry `number`; an earlier start when that is damaged."""
        if not number:
            return 0, 0
        entry, is_intact = self.entry(number - 1)
        return (entry.end, entry.crc) if is_intact else (-1, 0)

    def first_at(self, time_ns: int) -> int:
        """The number of the first record appended at or after `time_ns` (binary search)."""
        low, high = 0, self.record_count()
        while low < high:
            middle = (low + high) // 2
            if self.time_ns(middle, high) < time_ns:
                low = middle + 1
            else:
                high = middle
        return low

    def time_ns(self, number: int, stop: int) -> int:
        """A record's time; a damaged entry borrows that of the next one."""
        for candidate in range(number, stop):
            entry, is_intact = self.entry(candidate)
            if is_intact:
                return entry.time_ns
        return 2**63 - 1


def open_segments(disk: Disk, directory: str) -> list[int]:
    """Base offsets of a partition's segments; empty when it has none yet."""
    try:
        return layout.segment_bases(disk.list_directory(directory))
    except FileNotFoundError:
        return []
