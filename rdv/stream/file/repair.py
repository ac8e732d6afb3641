"""Settling damage when a person has decided to: what is gone is marked, what can be found again is.

Offsets never shift: a record that cannot be had any more becomes a LOST entry, which readers pass
over. The damaged files are kept beside the repaired ones with the suffix `.broken`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

from rdv.stream.file import layout
from rdv.stream.file.chain import Verdict, walk
from rdv.stream.file.disk import Disk, faults
from rdv.stream.file.entry import LOST, SEALED, pack_entry
from rdv.stream.file.lock import locked
from rdv.stream.file.segment import Segment, open_segments
from rdv.stream.file.verify import verify_partition


@dataclass(frozen=True)
class Repair:
    """What `repair` did to one segment."""

    path: str
    base: int
    given_up: int
    broken_copies: tuple[str, ...]


def repair_partition(
    disk: Disk, directory: str, topic: str, partition: int, lock_timeout_ms: int
) -> list[Repair]:
    """Repair every damaged segment of a partition, under its lock; idempotent.

    Raises LockTimeout and SystemFaults.
    """
    lock_path = f"{directory}/{layout.LOCK_FILE}"
    with faults(directory, "repair"), locked(disk, lock_path, lock_timeout_ms):
        reports = verify_partition(disk, directory, topic, partition)
        damaged = {report.base for report in reports if report.damage}
        bases = open_segments(disk, directory)
        return [
            _repair_segment(disk, directory, base, next_base)
            for base, next_base in pairwise([*bases, -1])
            if base in damaged
        ]


def _repair_segment(disk: Disk, directory: str, base: int, next_base: int) -> Repair:
    values_path = layout.values_path(directory, base)
    if not disk.exists(values_path):
        disk.close(disk.open(values_path, write=True, create=True))
    with Segment(disk, directory, base) as segment:
        copies = []
        for path in (segment.index_path, segment.values_path):
            copies.append(_free_broken_path(disk, path))
            disk.copy_file(path, copies[-1])
        entries, given_up = sound_index(segment, next_base)
        index_fd = disk.open(segment.index_path, write=True)
        try:
            # In place and entry by entry of the same offset: writers and readers that have the
            # file open go on, and a crash in between leaves something that can be repaired.
            disk.write_all(index_fd, entries, 0)
            if disk.size(index_fd) > len(entries):
                disk.ftruncate(index_fd, len(entries))
            disk.fdatasync(index_fd)
        finally:
            disk.close(index_fd)
    return Repair(values_path, base, given_up, tuple(copies))


def _free_broken_path(disk: Disk, path: str) -> str:
    candidate, number = path + layout.BROKEN_SUFFIX, 1
    while disk.exists(candidate):
        candidate, number = f"{path}{layout.BROKEN_SUFFIX}.{number}", number + 1
    return candidate


def sound_index(segment: Segment, next_base: int) -> tuple[bytes, int]:
    """A sound index for a damaged segment, and how many records it gives up. Only reads.

    A record whose index entry alone is damaged is found again when sound ones lie on both sides:
    the running CRC vouches for its bytes. `next_base` is that of the next segment, or -1.
    """
    count, size = segment.entry_count(), segment.values_size()
    builder = _IndexBuilder(segment, size)
    for verdict in walk(segment.entries(0, count), segment.values, 0, 0):
        builder.add(verdict)
    records = next_base - segment.base if next_base >= 0 else count
    return builder.finish(records, is_last=next_base < 0)


class _IndexBuilder:
    """Collects sound entries; damaged index entries wait for the next sound one."""

    def __init__(self, segment: Segment, size: int) -> None:
        self._segment = segment
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
            self._seal()
        elif verdict.status == "damaged":
            end = min(entry.end, self._size)
            self._put(end, max(0, end - start), entry.crc, LOST)
        else:
            self._put(entry.end, entry.length, entry.crc, entry.flags)

    def finish(self, records: int, *, is_last: bool) -> tuple[bytes, int]:
        """The index for `records` offsets, sealed unless it is the last segment's."""
        if not is_last and len(self._entries) + self._waiting > records:
            self._waiting -= 1  # it was the sealing entry that is damaged
        for _ in range(self._waiting):
            self._put(self._end, 0, self._crc, LOST)
        if not is_last and not self._is_sealed:
            while len(self._entries) < records:
                self._put(self._end, 0, self._crc, LOST)
            self._seal()
        return b"".join(self._entries), self._lost

    def _settle_waiting(self, start: int, *, is_vouched: bool) -> None:
        """Entries for the damaged ones, whose values lie between the last end and `start`."""
        if not self._waiting:
            return
        start = max(self._end, min(start, self._size))
        crc = crc32(self._segment.values(self._end, start), self._crc)
        is_found = is_vouched and self._waiting == 1
        for _ in range(self._waiting - 1):
            self._put(self._end, 0, self._crc, LOST)
        self._put(start, start - self._end, crc, 0 if is_found else LOST)
        self._waiting = 0

    def _seal(self) -> None:
        self._entries.append(pack_entry(self._end, self._time_ns, 0, self._crc, SEALED))
        self._is_sealed = True

    def _put(self, end: int, length: int, crc: int, flags: int) -> None:
        self._entries.append(pack_entry(end, self._time_ns, length, crc, flags))
        self._end, self._crc = end, crc
        self._lost += bool(flags & LOST)
