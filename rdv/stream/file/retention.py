"""Retention deletes the oldest segments of a partition.

It deletes by time only what is old by more than one clock: a segment's age is that of its last
entry or of its file, whichever is younger, and `trusted_time` gives the current time. An entry from
the future (a writer whose clock was ahead) counts for nothing; its file or the next segment does.
"""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import NamedTuple

from rdv.clock import Clock
from rdv.stream.config import StreamConfig
from rdv.stream.file import layout
from rdv.stream.file.disk import Disk
from rdv.stream.file.entry import ENTRY_BYTES
from rdv.stream.file.segment import Segment, open_segments
from rdv.stream.file.trusted_time import time_to_delete_by

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
            with contextlib.suppress(FileNotFoundError):
                disk.unlink(path)
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
