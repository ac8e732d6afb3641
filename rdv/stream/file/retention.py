"""Deleting the oldest segments of a partition."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import NamedTuple

from rdv.stream.config import StreamConfig
from rdv.stream.file import layout
from rdv.stream.file.disk import Disk
from rdv.stream.file.segment import Segment, open_segments


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
            with Segment(disk, directory, base) as segment:
                count = segment.entry_count()
                # A damaged last entry must not make a segment immortal nor doom it: as old as 0.
                entry, is_intact = segment.entry(count - 1) if count else (None, False)
                time_ns = entry.time_ns if entry is not None and is_intact else 0
                facts.append(SegmentFacts(base, next_base, segment.values_size(), time_ns))
        except FileNotFoundError:
            continue
    return facts
