"""These functions find begin, end and time → offset of one partition, from its files alone.

These functions search times in a log whose writers may have had wrong clocks. Pure.

Within a stretch (a segment) times never decrease. At the beginning of one they may fall: the clock
of the previous writer was ahead, or that of this one is behind.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from rdv.stream.file.checkpoint import known_end_of
from rdv.stream.file.segment import NEVER_NS, Segment, end_without_index, open_segments
from rdv.system.disk import Disk
from rdv.system.faults import faults

AHEAD_MAX_NS = 60 * 10**9
"""The maximum lead in nanoseconds of the last record over a writer's clock at which the next record
gets that record's time. Beyond it a new stretch begins, with the writer's time. append.c has the
same constant."""


def believed(first_times_ns: Sequence[int], now_ns: int) -> list[int]:
    """Return the numbers of the stretches whose first times can be searched: they never decrease.

    They are a longest subsequence of that kind (of several the one with the earlier times). Times
    in the future of `now_ns` are left out, unless the newest stretch is in the future, too: then it
    is `now_ns` that is wrong.
    """
    limit_ns = now_ns + AHEAD_MAX_NS
    if not first_times_ns or first_times_ns[-1] > limit_ns:
        limit_ns = max(first_times_ns, default=0)
    tails_ns: list[int] = []
    tail_numbers: list[int] = []
    before: list[int] = []
    for number, time_ns in enumerate(first_times_ns):
        at = bisect_right(tails_ns, time_ns)
        before.append(tail_numbers[at - 1] if at else -1)
        if time_ns > limit_ns:
            continue
        tails_ns[at : at + 1] = [time_ns]
        tail_numbers[at : at + 1] = [number]
    found: list[int] = []
    number = tail_numbers[-1] if tail_numbers else -1
    while number >= 0:
        found.append(number)
        number = before[number]
    return found[::-1]


def first_stretch(first_times_ns: Sequence[int], time_ns: int, now_ns: int) -> int:
    """Return the first stretch that may hold a record of `time_ns` or later.

    It is one that is believed to begin before then; all that come after it may hold such records,
    too.
    """
    numbers = believed(first_times_ns, now_ns)
    at = bisect_left(numbers, time_ns, key=first_times_ns.__getitem__)
    return numbers[at - 1] if at else 0


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
