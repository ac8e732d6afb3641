"""Search times in a log whose writers may have had wrong clocks. Pure.

Within a stretch (a segment) times never decrease. At the beginning of one they may fall: the clock
of the previous writer was ahead, or that of this one is behind.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

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
