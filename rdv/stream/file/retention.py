"""Retention deletes the oldest segments of a partition.

It deletes by time only what is old by more than one clock: a segment's age is that of its last
entry or of its file, whichever is younger, and `trusted_time` gives the current time. An entry from
the future (a writer whose clock was ahead) counts for nothing; its file or the next segment does.

Trusted time is the time to delete by: no step of a clock may delete a record early.

A wall clock can be wrong by years, for a moment or for good, and the clock of the deleting process
may be the wrong one. The monotonic clock of a boot cannot jump, so each partition keeps a note
(`clock`) that ties the two: wall time is believed as far as monotonic time has passed since. A
clock that goes ahead of that is believed after it has done so for a day, or for half the retention
time if that is shorter; one that goes back is believed at once, as that deletes nothing.
"""

from __future__ import annotations

import contextlib
import struct
from itertools import pairwise
from typing import NamedTuple

from rdv.clock import Clock
from rdv.stream.config import StreamConfig
from rdv.stream.file import layout
from rdv.stream.file.entry import ENTRY_BYTES
from rdv.stream.file.segment import Segment, open_segments
from rdv.system.disk import Disk

NOTE_FILE = "clock"
TOLERANCE_NS = 60 * 10**9
"""The largest correction that does not count as a step of a clock, in nanoseconds."""
CONFIRM_NS = 24 * 3600 * 10**9

_NOTE = struct.Struct("<4s16sqqqq")
_MAGIC = b"rdc1"


class Note(NamedTuple):
    """A `Note` holds the wall and monotonic time of one moment, and how far the clock is ahead.

    `since_ns` is the monotonic time since when the wall clock has been `ahead_ns` further than the
    monotonic clock allows; both are 0 when it is not.
    """

    boot: bytes
    wall_ns: int
    monotonic_ns: int
    ahead_ns: int
    since_ns: int


def judge(note: Note, now: Note, confirm_ns: int) -> tuple[int, Note]:
    """Return the time to delete by, and the next note. Pure; `now` is what the clocks say."""
    passed_ns = now.monotonic_ns - note.monotonic_ns if note.boot == now.boot else 0
    believed_ns = note.wall_ns + max(0, passed_ns)
    ahead_ns = now.wall_ns - believed_ns
    # After another boot an unknown time has passed: a machine may have been off for a night.
    tolerance_ns = min(TOLERANCE_NS, confirm_ns // 10)
    slack_ns = tolerance_ns if note.boot == now.boot else confirm_ns
    if ahead_ns <= slack_ns:
        return now.wall_ns, now
    is_known = note.ahead_ns and note.boot == now.boot
    if is_known and abs(ahead_ns - note.ahead_ns) <= tolerance_ns:
        if now.monotonic_ns - note.since_ns >= confirm_ns:
            return now.wall_ns, now
        return believed_ns, note
    began = Note(now.boot, believed_ns, now.monotonic_ns, ahead_ns, now.monotonic_ns)
    return believed_ns, began


def time_to_delete_by(
    disk: Disk, directory: str, clock: Clock, retention_ms: int, newest_ns: int
) -> int:
    """Return the wall time as far as it can be believed; keeps the note. Raises OSError.

    Without a note the newest record says what time it was last.

    It works with or without the partition's lock: of two concurrent notes, either is right.
    """
    path = f"{directory}/{NOTE_FILE}"
    now = Note(disk.boot_id(), clock.wall_ns(), clock.monotonic_ns(), 0, 0)
    confirm_ns = min(CONFIRM_NS, retention_ms * 500_000)
    note = _read(disk, path) or Note(b"", min(newest_ns, now.wall_ns), 0, 0, 0)
    found_ns, after = judge(note, now, confirm_ns)
    if after != note:
        with contextlib.suppress(OSError):  # a full disk must not prevent a deletion
            disk.replace_file(path, _NOTE.pack(_MAGIC, *after))
    return found_ns


def keep_note(disk: Disk, directory: str, clock: Clock) -> None:
    """Write the first writer's note, so that the first deletion knows what time it was.

    Raises nothing: without a note, the newest record gives the time.
    """
    path = f"{directory}/{NOTE_FILE}"
    with contextlib.suppress(OSError):
        if not disk.is_file(path):
            now = Note(disk.boot_id(), clock.wall_ns(), clock.monotonic_ns(), 0, 0)
            disk.replace_file(path, _NOTE.pack(_MAGIC, *now))


def _read(disk: Disk, path: str) -> Note | None:
    try:
        data = disk.read_file(path)
    except FileNotFoundError:
        return None
    if len(data) != _NOTE.size or data[:4] != _MAGIC:
        return None
    return Note(*_NOTE.unpack(data)[1:])


NEVER_OLD_NS = 2**63 - 1


class SegmentFacts(NamedTuple):
    """A `SegmentFacts` holds what retention needs to know of one sealed segment."""

    base: int
    next_base: int
    size_bytes: int
    last_time_ns: int
    changed_ns: int = 0
    """When its index was last written, by the file system, in nanoseconds."""


def expired(
    segments: list[SegmentFacts], config: StreamConfig, now_ns: int, before_offset: int | None
) -> int:
    """Return how many of the sealed `segments`, oldest first, must be deleted. Pure."""
    times_ns = believable_times(segments, now_ns)
    total = sum(segment.size_bytes for segment in segments)
    count = 0
    for segment, last_ns in zip(segments, times_ns, strict=True):
        is_old = (
            config.retention_ms is not None and now_ns - last_ns > config.retention_ms * 1_000_000
        )
        is_beyond = config.retention_bytes is not None and total > config.retention_bytes
        is_named = before_offset is not None and segment.next_base <= before_offset
        if not (is_old or is_beyond or is_named):
            break
        total -= segment.size_bytes
        count += 1
    return count


def believable_times(segments: list[SegmentFacts], now_ns: int) -> list[int]:
    """Return the latest believable time of each segment, in nanoseconds. Pure.

    They are computed from the newest on, as its time may stand in for that of earlier ones. A
    file's time counts unless it lies in the future: it delays a deletion, and hastens one only for
    a segment whose own time is impossible.
    """
    times_ns: list[int] = []
    next_ns = now_ns
    for segment in reversed(segments):
        is_possible = segment.changed_ns <= now_ns
        if segment.last_time_ns <= now_ns:
            next_ns = max(segment.last_time_ns, segment.changed_ns if is_possible else 0)
        elif segment.last_time_ns == NEVER_OLD_NS:
            next_ns = NEVER_OLD_NS
        elif is_possible:
            next_ns = segment.changed_ns
        times_ns.append(next_ns)
    return times_ns[::-1]


def purge(
    disk: Disk,
    directory: str,
    config: StreamConfig,
    clock: Clock,
    *,
    before_offset: int | None = None,
) -> list[SegmentFacts]:
    """Delete expired segments; returns what was deleted. The last segment always stays.

    The index is deleted first: without it the segment does not exist. Safe while other processes
    purge, and for readers, whose open files stay readable.
    """
    sealed = _sealed_segments(disk, directory)
    now_ns = clock.wall_ns()
    if config.retention_ms is not None and sealed:
        newest_ns = max(believable_times(sealed, now_ns))
        now_ns = time_to_delete_by(disk, directory, clock, config.retention_ms, newest_ns)
    doomed = sealed[: expired(sealed, config, now_ns, before_offset)]
    for segment in doomed:
        for path in (
            layout.index_path(directory, segment.base),
            layout.values_path(directory, segment.base),
        ):
            disk.remove_file(path)
    return doomed


def _sealed_segments(disk: Disk, directory: str) -> list[SegmentFacts]:
    bases = open_segments(disk, directory)
    facts = []
    for base, next_base in pairwise(bases):
        try:
            with Segment(disk, directory, base, index_only=True) as segment:
                size_bytes = segment.entry_count() * ENTRY_BYTES
                with contextlib.suppress(FileNotFoundError):
                    # Lost values are no reason to keep the index: deletion goes from the front.
                    size_bytes += disk.path_size(segment.values_path)
                time_ns = _last_time_ns(segment)
                changed_ns = disk.signature(segment.index_path)[1]
        except FileNotFoundError:
            continue
        if time_ns is None:
            time_ns = _first_time_ns(disk, directory, next_base)
        facts.append(SegmentFacts(base, next_base, size_bytes, time_ns, changed_ns))
    return facts


def _last_time_ns(segment: Segment) -> int | None:
    """Return the time of the last intact entry: damage must not make a segment look old."""
    for number in range(segment.entry_count() - 1, -1, -1):
        entry, is_intact = segment.entry(number)
        if is_intact:
            return entry.time_ns
    return None


def _first_time_ns(disk: Disk, directory: str, base: int) -> int:
    """Return the first time of a segment, which the one before it cannot exceed.

    When nothing is known, the segment before it is not old.
    """
    try:
        with Segment(disk, directory, base, index_only=True) as segment:
            entry, is_intact = segment.entry(0) if segment.entry_count() else (None, False)
            return entry.time_ns if entry is not None and is_intact else NEVER_OLD_NS
    except FileNotFoundError:
        return NEVER_OLD_NS
