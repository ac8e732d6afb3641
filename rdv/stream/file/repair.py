"""A repair settles damage on a person's command: it restores records, or marks them as lost.

Offsets never shift: a record that cannot be restored becomes a LOST entry, which readers skip;
offsets without a segment become a GAP. The damaged files are kept beside the repaired ones with the
suffix `.broken`.

Writers continue meanwhile. They use only the last segment, so it is sealed first, with one entry
that is written under the partition's lock. All other reading and writing needs no writers' lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from zlib import crc32

from rdv.stream.errors import LockTimeout
from rdv.stream.file import layout
from rdv.stream.file.chain import BEGIN, Verdict, walk
from rdv.stream.file.checkpoint import known_end_of, write_mark
from rdv.stream.file.damage import misfits
from rdv.stream.file.entry import (
    ENTRY_BYTES,
    FLAGS_MASK,
    GAP,
    LOST,
    SEALED,
    Codec,
    unpack_entry,
    whole,
)
from rdv.stream.file.lock import partition_locked
from rdv.stream.file.misplaced import Moved, put_segments_back
from rdv.stream.file.segment import Segment, end_without_index, open_segments, values_without_index
from rdv.stream.file.verify import SegmentReport, verify_partition
from rdv.system.disk import BROKEN_SUFFIX, Disk
from rdv.system.faults import faults
from rdv.system.file_lock import FileLock


@dataclass(frozen=True)
class Repair:
    """A `Repair` states what `repair` did to one segment."""

    path: str
    base: int
    given_up: int
    """How many offsets it has marked as lost."""
    broken_copies: tuple[str, ...]


def moved_by_repair(moved: Moved) -> Repair:
    """Return a report on a file or a directory that was put back or set aside."""
    copies = (moved.to,) if BROKEN_SUFFIX in moved.to else ()
    return Repair(moved.path, 0, 0, copies)


def repair_partition(
    disk: Disk, directory: str, topic: str, partition: int, lock_timeout_ms: int, read_end: int = 0
) -> list[Repair]:
    """Repair every damaged segment of a partition; idempotent, and safe while others write.

    The partition's lock is taken for a moment, and only when its last segment is damaged, or files
    must be renamed. `read_end`: see `verify_partition`. Raises LockTimeout and SystemFaults.
    """

    def find_damage() -> dict[int, SegmentReport]:
        reports = verify_partition(disk, directory, topic, partition, read_end)
        return {report.base: report for report in reports if report.damage}

    with faults(directory, "repair"):
        damaged = find_damage()
        if not damaged:
            return []
        aside = [
            Moved(path, disk.set_aside(path))
            for paths in misfits(disk, directory).values()
            for path in paths
        ]
        if aside:
            damaged = find_damage()
        first = min(open_segments(disk, directory), default=None)
        moved = put_segments_back(disk, directory, damaged, lock_timeout_ms)
        if first is not None and _is_set_aside(moved, layout.index_path(directory, first)):
            _keep_begin(disk, directory, first)
        _note_end(disk, directory, read_end, lock_timeout_ms)
        if moved:
            damaged = find_damage()
        repairs = [moved_by_repair(one) for one in [*aside, *moved]]
        repairs += _set_aside_values(disk, directory)
        for base in open_segments(disk, directory):
            if base in damaged:
                repairs += _repair_segment(disk, directory, damaged[base], lock_timeout_ms)
        return repairs


def _is_set_aside(moved: list[Moved], path: str) -> bool:
    return any(one.path == path and BROKEN_SUFFIX in one.to for one in moved)


def _keep_begin(disk: Disk, directory: str, first: int) -> None:
    """Make an empty segment in the place of the first one, which was set aside.

    It becomes a gap: otherwise its offsets would seem to be deleted by retention.
    """
    if open_segments(disk, directory) and min(open_segments(disk, directory)) > first:
        disk.close(disk.open(layout.index_path(directory, first), write=True, create=True))


def _note_end(disk: Disk, directory: str, read_end: int, lock_timeout_ms: int) -> None:
    """Write down the end that the partition has reached, in a new segment if it has none."""
    if read_end <= known_end_of(disk, directory) and open_segments(disk, directory):
        return
    with partition_locked(disk, directory, lock_timeout_ms) as lock_fd:
        write_mark(disk, lock_fd, disk.boot_id(), max(read_end, end_without_index(disk, directory)))
        if not open_segments(disk, directory):
            base = min(values_without_index(disk, directory), default=0)
            disk.close(disk.open(layout.index_path(directory, base), write=True, create=True))


def _set_aside_values(disk: Disk, directory: str) -> list[Repair]:
    """Rename values whose index is lost: their records cannot be told apart any more.

    Only those in a gap: retention may have been interrupted before the first segment, and after the
    last a writer may be about to begin another.
    """
    done, bases = [], open_segments(disk, directory)
    for base in values_without_index(disk, directory):
        if bases and bases[0] < base < bases[-1]:
            path = layout.values_path(directory, base)
            copy = disk.path_aside(path)
            disk.rename(path, copy)
            done.append(Repair(path, base, 0, (copy,)))
    return done


def _seal_last(disk: Disk, directory: str, segment: Segment, index_fd: int, wait_ms: int) -> None:
    """Seal the segment at its end if it is the last, so that writers go on in another one."""
    if max(open_segments(disk, directory), default=-1) > segment.base:
        return
    with partition_locked(disk, directory, wait_ms):
        size = whole(disk.size(index_fd))
        count = size // ENTRY_BYTES
        if segment.seal(count) is not None:
            return
        if not count:
            # Nothing is left of it: all its offsets are given up.
            end = _end_of_gap(disk, directory, segment) or segment.base
            if end > segment.base:
                disk.write_all(index_fd, segment.codec.pack(0, end, 0, 0, 0, GAP), 0)
            return
        entry, is_sound = segment.entry(count - 1)
        end, time_ns = segment.values_size(), 0
        if is_sound:
            end, time_ns = entry.end, entry.time_ns
        seal = segment.codec.pack(count, end, time_ns, 0, entry.crc, SEALED)
        disk.write_all(index_fd, seal, size)


@contextlib.contextmanager
def _open_to_repair(disk: Disk, directory: str, base: int) -> Iterator[tuple[Segment, int]]:
    """Yield the segment, and a descriptor for writing its index; missing values are made empty."""
    values_path = layout.values_path(directory, base)
    if not disk.is_file(values_path):
        disk.close(disk.open(values_path, write=True, create=True))
    with Segment(disk, directory, base) as segment:
        index_fd = disk.open(segment.index_path, write=True)
        try:
            yield segment, index_fd
        finally:
            disk.close(index_fd)


def _repair_segment(
    disk: Disk, directory: str, report: SegmentReport, lock_timeout_ms: int
) -> list[Repair]:
    """Repair one segment; do nothing when another repair has done it in the meantime."""
    base = report.base
    with _open_to_repair(disk, directory, base) as (segment, index_fd):
        # Repairs take turns; writers do not use the segment any more.
        lock = FileLock(disk, index_fd)
        if not lock.acquire(lock_timeout_ms / 1000):
            holder = disk.lock_holder(index_fd)
            raise LockTimeout(segment.index_path, lock_timeout_ms, holder)
        try:
            given_up = _lost_by_repair(disk, directory, segment)
            if given_up is None:
                return []
            copies = []
            for path in (segment.index_path, segment.values_path):
                copies.append(disk.path_aside(path))
                disk.copy_file(path, copies[-1])
            _seal_last(disk, directory, segment, index_fd, lock_timeout_ms)
            before = segment.entries(0, segment.entry_count())
            entries, _ = sound_index(segment, _end_of_gap(disk, directory, segment))
            _write_changes(disk, index_fd, before, entries)
        finally:
            lock.release()
    return [Repair(segment.values_path, base, given_up, tuple(copies))]


def _lost_by_repair(disk: Disk, directory: str, segment: Segment) -> int | None:
    """Return how many offsets a repair gives up; None when there is nothing to repair any more."""
    entries, given_up = sound_index(segment, _end_of_gap(disk, directory, segment))
    return None if entries == segment.entries(0, segment.entry_count()) else given_up


def _end_of_gap(disk: Disk, directory: str, segment: Segment) -> int | None:
    """Return where the segment must end: at the next one, or where the partition ended."""
    known_end = known_end_of(disk, directory)
    later = [base for base in open_segments(disk, directory) if base > segment.base]
    if later:
        return later[0]
    return known_end if known_end > segment.next_base() else None


def _write_changes(disk: Disk, index_fd: int, before: bytes, entries: bytes) -> None:
    """Write the entries that differ, in place.

    Writers and readers that have the file open continue, and a crash in between leaves a file that
    can be repaired.
    """

    def differs(number: int) -> bool:
        at = slice(number * ENTRY_BYTES, (number + 1) * ENTRY_BYTES)
        return before[at] != entries[at]

    for is_changed, numbers in groupby(range(len(entries) // ENTRY_BYTES), differs):
        if is_changed:
            run = list(numbers)
            start, stop = run[0] * ENTRY_BYTES, (run[-1] + 1) * ENTRY_BYTES
            disk.write_all(index_fd, entries[start:stop], start)
    if disk.size(index_fd) > len(entries):
        disk.ftruncate(index_fd, len(entries))
    disk.fdatasync(index_fd)


def sound_index(segment: Segment, next_base: int | None) -> tuple[bytes, int]:
    """Return a sound index for a damaged segment, and how many offsets it gives up. Only reads.

    An intact entry at a wrong place is moved to where it belongs. A record whose index entry alone
    is damaged is restored when sound ones lie on both sides: the running CRC confirms its bytes.
    `next_base` is where the next segment begins, if that is known.
    """
    codec, count = segment.codec, segment.entry_count()
    raw = _put_in_order(codec, segment.entries(0, count))
    if next_base is not None:
        # No more than the seal: entries after it belong to no segment.
        raw = raw[: (next_base - segment.base + 1) * ENTRY_BYTES]
    builder = _IndexBuilder(segment, segment.values_size())
    for verdict in walk(codec, raw, segment.values, BEGIN):
        builder.add(verdict)
    return builder.finish(next_base)


def _put_in_order(codec: Codec, raw: bytes) -> bytes:
    """Return the entries of an index, with those at a wrong place moved to the place they name."""
    count = len(raw) // ENTRY_BYTES
    entries = [raw[n * ENTRY_BYTES : (n + 1) * ENTRY_BYTES] for n in range(count)]
    strays = [n for n, entry in enumerate(entries) if not codec.holds(entry, n)]
    moved: dict[int, bytes] = {}
    for n in strays:
        number = codec.number_of(unpack_entry(entries[n])) if codec.intact(entries[n]) else None
        if number is not None and number < count + len(strays):
            moved[number] = entries[n]
    entries += [bytes(ENTRY_BYTES)] * (max(moved, default=-1) + 1 - count)
    for number, entry in moved.items():
        if not codec.holds(entries[number], number):
            entries[number] = entry
    return b"".join(entries)


class _IndexBuilder:
    """An `_IndexBuilder` collects sound entries; damaged ones wait for the next sound one."""

    def __init__(self, segment: Segment, size: int) -> None:
        self._segment = segment
        self._codec = segment.codec
        self._size = size
        self._entries: list[bytes] = []
        self._waiting = 0
        self._lost = 0
        self._end = self._crc = self._time_ns = 0
        self._is_sealed = False

    def add(self, verdict: Verdict) -> None:
        if verdict.status == "damaged" and verdict.in_index:
            self._waiting += 1
            return
        entry = verdict.entry
        is_seal = verdict.status == "sealed"
        start = self._end if is_seal else entry.end - entry.length
        self._settle_waiting(start, is_vouched=verdict.status == "ok")
        self._time_ns = max(self._time_ns, entry.time_ns)
        if is_seal:
            self._is_sealed = True
            if entry.flags & FLAGS_MASK == GAP:
                self._seal(entry.end)
            else:
                self._seal(None)
        elif verdict.status == "damaged":
            end = max(self._end, min(entry.end, self._size))
            self._put(end, end - self._end, entry.crc, LOST)
        else:
            # An empty value may be sound where the values before it have been cut off.
            end = entry.end if entry.length else self._end
            self._put(end, entry.length, entry.crc, entry.flags & FLAGS_MASK)

    def finish(self, next_base: int | None) -> tuple[bytes, int]:
        """Return the index, sealed, and how many offsets it gives up.

        The last segment is sealed as well: writers that have it open see that the index has grown,
        and look for the end anew instead of trusting what they know.
        """
        base = self._segment.base
        if self._is_sealed:
            seal = unpack_entry(self._entries.pop())
            end = seal.end if seal.flags & FLAGS_MASK == GAP else None
        else:
            end = None
            if next_base is not None and base + len(self._entries) + self._waiting > next_base:
                self._waiting -= 1  # the damaged entry was the sealing one
            for _ in range(self._waiting):
                self._put(self._end, 0, self._crc, LOST)
        if next_base is not None:
            del self._entries[next_base - base :]  # an entry in the place of the seal
        behind = base + len(self._entries)
        if next_base is not None and next_base > (end or behind):
            self._lost += next_base - (end or behind)
            end = next_base
        self._seal(end)
        return b"".join(self._entries), self._lost

    def _settle_waiting(self, start: int, *, is_vouched: bool) -> None:
        """Add entries for the damaged ones, whose values lie between the last end and `start`."""
        if not self._waiting:
            return
        start = max(self._end, min(start, self._size))
        crc = crc32(self._segment.values(self._end, start), self._crc)
        is_found = is_vouched and self._waiting == 1
        for _ in range(self._waiting - 1):
            self._put(self._end, 0, self._crc, LOST)
        self._put(start, start - self._end, crc, 0 if is_found else LOST)
        self._waiting = 0

    def _seal(self, gap_end: int | None) -> None:
        """Seal the segment; with `gap_end` the offsets from here to there are given up."""
        flags, end = (SEALED, self._end) if gap_end is None else (GAP, gap_end)
        number = len(self._entries)
        self._entries.append(self._codec.pack(number, end, self._time_ns, 0, self._crc, flags))

    def _put(self, end: int, length: int, crc: int, flags: int) -> None:
        number = len(self._entries)
        self._entries.append(self._codec.pack(number, end, self._time_ns, length, crc, flags))
        self._end, self._crc = end, crc
        self._lost += bool(flags & LOST)
