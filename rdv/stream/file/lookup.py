"""Begin, end and time → offset of one partition, from its files alone."""

from __future__ import annotations

import contextlib

from rdv.stream.file.checkpoint import known_end_of
from rdv.stream.file.disk import Disk, faults
from rdv.stream.file.segment import Segment, open_segments


def begin_offset(disk: Disk, directory: str) -> int:
    """The first offset that is still there."""
    with faults(directory, "read"):
        bases = open_segments(disk, directory)
        return bases[0] if bases else 0


def end_offset(disk: Disk, directory: str) -> int:
    """The offset that the next record will get.

    That is not below an end that the partition is known to have reached, whatever is missing.
    """
    with faults(directory, "read"):
        while bases := open_segments(disk, directory):
            try:
                with Segment(disk, directory, bases[-1], index_only=True) as segment:
                    return max(segment.next_base(), known_end_of(disk, directory))
            except FileNotFoundError:
                continue
        return known_end_of(disk, directory)


def offset_at(disk: Disk, directory: str, time_ns: int) -> int:
    """The first offset appended at or after `time_ns`; the end when there is none."""
    # Before the look: what is appended meanwhile must not be passed over.
    end = end_offset(disk, directory)
    with faults(directory, "read"):
        bases = open_segments(disk, directory)
        low, high = 0, len(bases)
        while low < high:
            middle = (low + high) // 2
            first = _first_time_ns(disk, directory, bases[middle])
            if first is None or first < time_ns:
                low = middle + 1
            else:
                high = middle
        # The segment before may still end with records that are late enough.
        for base in bases[max(0, low - 1) :]:
            try:
                with Segment(disk, directory, base, index_only=True) as segment:
                    number, count = segment.first_at(time_ns), segment.record_count()
            except FileNotFoundError:
                continue
            if number < count:
                return base + number
    return end


def newest_ns(disk: Disk, directory: str) -> int | None:
    """The time of the last entry that is intact; None when there is none."""
    with faults(directory, "read"):
        for base in reversed(open_segments(disk, directory)):
            with (
                contextlib.suppress(FileNotFoundError),
                Segment(disk, directory, base, index_only=True) as segment,
            ):
                for number in range(segment.entry_count() - 1, -1, -1):
                    entry, is_intact = segment.entry(number)
                    if is_intact:
                        return entry.time_ns
    return None


def _first_time_ns(disk: Disk, directory: str, base: int) -> int | None:
    """The time of a segment's first record; None when it has none, or is gone (it is old)."""
    try:
        with Segment(disk, directory, base, index_only=True) as segment:
            if not segment.record_count():
                return 2**63 - 1
            entry, is_intact = segment.entry(0)
            return entry.time_ns if is_intact else segment.time_ns(0, segment.record_count())
    except FileNotFoundError:
        return None
