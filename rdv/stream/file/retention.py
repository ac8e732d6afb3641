"""Deleting the oldest segments of a partition."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import NamedTuple

from rdv.stream.config import StreamConfig
from rdv.stream.file import layout
from rdv.stream.file.disk import Disk
from rdv.stream.file.entry import ENTRY_BYTES
from rdv.stream.file.segment import Segment, open_segments

NEVER_OLD_NS = 2**63 - 1


class SegmentFacts(NamedTuple):
    """What retention needs to know of one sealed segment."""

    base: int
    next_base: int
    size_bytes: int
    last_time_ns: int


def expired(
    segments: list[SegmentFacts], config: StreamConfig, now_ns: int, before_offset: int | None
) -> int:
    """How many of the sealed `segments`, oldest first, are to be deleted. Pure."""
    total = sum(segment.size_bytes for segment in segments)
    count = 0
    for segment in segments:
        is_old = (
            config.retention_ms is not None
            and now_ns - segment.last_time_ns > config.retention_ms * 1_000_000
        )
        is_beyond = config.retention_bytes is not None and total > config.retention_bytes
        is_named = before_offset is not None and segment.next_base <= before_offset
        if not (is_old or is_beyond or is_named):
            break
        total -= segment.size_bytes
        count += 1
    return count


def purge(
    disk: Disk,
    directory: str,
    config: StreamConfig,
    now_ns: int,
    *,
    before_offset: int | None = None,
) -> list[SegmentFacts]:
    """Delete what is expired; returns what was deleted. The last segment always stays.

    The index goes first: without it the segment does not exist. Safe against other purgers and
    against readers, whose open files stay readable.
    """
    sealed = _sealed_segments(disk, directory)
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
                    # Lost values are no reason to keep the index: deleted is from the front.
                    size_bytes += disk.path_size(segment.values_path)
                time_ns = _last_time_ns(segment)
        except FileNotFoundError:
            continue
        if time_ns is None:
            time_ns = _first_time_ns(disk, directory, next_base)
        facts.append(SegmentFacts(base, next_base, size_bytes, time_ns))
    return facts


def _last_time_ns(segment: Segment) -> int | None:
    """The time of the last entry that is intact: damage must not make a segment look old."""
    for number in range(segment.entry_count() - 1, -1, -1):
        entry, is_intact = segment.entry(number)
        if is_intact:
            return entry.time_ns
    return None


def _first_time_ns(disk: Disk, directory: str, base: int) -> int:
    """The segment before cannot be younger than this; when nothing is known it is not old."""
    try:
        with Segment(disk, directory, base, index_only=True) as segment:
            entry, is_intact = segment.entry(0) if segment.entry_count() else (None, False)
            return entry.time_ns if entry is not None and is_intact else NEVER_OLD_NS
    except FileNotFoundError:
        return NEVER_OLD_NS
