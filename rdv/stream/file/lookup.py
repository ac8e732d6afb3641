"""These functions find begin, end and time → offset of one partition, from its files alone."""

from __future__ import annotations

import contextlib

from rdv.stream.file.checkpoint import known_end_of
from rdv.stream.file.segment import NEVER_NS, Segment, end_without_index, open_segments
from rdv.stream.times import first_stretch
from rdv.system.disk import Disk
from rdv.system.faults import faults


def begin_offset(disk: Disk, directory: str) -> int:
    """Return the first offset that still exists."""
    with faults(directory, "read"):
        bases = open_segments(disk, directory)
        return bases[0] if bases else 0


def end_offset(disk: Disk, directory: str) -> int:
    """Return the offset that the next record will get.

    It is not below an end that the partition is known to have reached, whatever is missing.
    """
    with faults(directory, "read"):
        while bases := open_segments(disk, directory):
            try:
                with Segment(disk, directory, bases[-1], index_only=True) as segment:
                    return max(segment.next_base(), known_end_of(disk, directory))
            except FileNotFoundError:
                continue
        return max(known_end_of(disk, directory), end_without_index(disk, directory))


class FirstTimes:
    """A `FirstTimes` caches when each segment begins: a segment's first time does not change.

    Thread-safe. Holds two numbers for each existing segment.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, dict[int, int]]] = {}

    def of(self, disk: Disk, directory: str, incarnation: object) -> tuple[list[int], list[int]]:
        """Return base offsets and first times of the segments that have a time. Raises OSError.

        `incarnation` names the topic: one that is made again has other segments.
        """
        owner, known = self._known.get(directory, (None, {}))
        if owner != incarnation:
            known = {}
        times = {}
        for base in open_segments(disk, directory):
            time_ns = known.get(base)
            if time_ns is None:
                time_ns = _first_time_ns(disk, directory, base)
            if time_ns is not None:
                times[base] = time_ns
        self._known[directory] = incarnation, times
        return list(times), list(times.values())


def offset_at(
    disk: Disk,
    directory: str,
    time_ns: int,
    now_ns: int,
    times: FirstTimes,
    incarnation: object = None,
) -> int:
    """Return the first offset appended at or after `time_ns`; the end when there is none.

    Where a clock was wrong, times fall between segments: see `timeline`.
    """
    # Read before the search: what is appended meanwhile must not be skipped.
    end = end_offset(disk, directory)
    with faults(directory, "read"):
        bases, times_ns = times.of(disk, directory, incarnation)
        first = first_stretch(times_ns, time_ns, now_ns)
        # After it come segments whose times are not believed, or the one that begins at that time.
        for base in bases[first:]:
            try:
                with Segment(disk, directory, base, index_only=True) as segment:
                    number, count = segment.first_at(time_ns), segment.record_count()
            except FileNotFoundError:
                continue
            if number < count:
                return base + number
    return end


def newest_ns(disk: Disk, directory: str) -> int | None:
    """Return the time of the last entry that is intact; None when there is none."""
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
    """Return the time of a segment's first intact record; None when it has none, or is gone."""
    with (
        contextlib.suppress(FileNotFoundError),
        Segment(disk, directory, base, index_only=True) as segment,
    ):
        time_ns = segment.time_ns(0, segment.record_count())
        return None if time_ns == NEVER_NS else time_ns
    return None
