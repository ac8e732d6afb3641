"""Check look-ups of times between stretches: they find what the right clocks have written."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.stream.times import AHEAD_MAX_NS, believed, first_stretch

YEAR_NS = 365 * 86_400 * 10**9
NOW_NS = 50 * YEAR_NS
times = st.lists(st.integers(0, 60) | st.integers(NOW_NS - 9, NOW_NS + YEAR_NS), max_size=12)


def longest(values):
    """Return the length of the longest non-decreasing subsequence, by trying."""
    best = []
    for n, value in enumerate(values):
        best.append(1 + max((best[m] for m in range(n) if values[m] <= value), default=0))
    return max(best, default=0)


@given(times)
@settings(derandomize=True, deadline=None)
def test_what_is_believed_is_longest_and_never_decreases(firsts):
    numbers = believed(firsts, NOW_NS)
    found = [firsts[n] for n in numbers]
    assert numbers == sorted(set(numbers))
    assert found == sorted(found)
    limit_ns = NOW_NS + AHEAD_MAX_NS
    if firsts and firsts[-1] > limit_ns:
        limit_ns = max(firsts)
    assert len(found) == longest([time for time in firsts if time <= limit_ns])


@given(times, st.integers(0, NOW_NS + 2 * YEAR_NS), st.integers(0, YEAR_NS))
@settings(derandomize=True, deadline=None)
def test_a_later_time_is_never_looked_up_earlier(firsts, time_ns, more_ns):
    first = first_stretch(firsts, time_ns, NOW_NS)
    assert first <= first_stretch(firsts, time_ns + more_ns, NOW_NS)
    assert first == 0 or firsts[first] < time_ns


@given(st.lists(st.integers(0, 100), min_size=1).map(sorted), st.integers(0, 101))
@settings(derandomize=True, deadline=None)
def test_with_right_clocks_it_is_the_one_before_the_first_that_is_late_enough(firsts, time_ns):
    late = [n for n, first in enumerate(firsts) if first >= time_ns]
    expected = max(0, (late[0] if late else len(firsts)) - 1)
    assert first_stretch(firsts, time_ns, NOW_NS) == expected


@given(st.integers(1, 5), st.integers(0, 4), st.integers(2 * AHEAD_MAX_NS, 3 * YEAR_NS), st.data())
@settings(derandomize=True, deadline=None)
def test_stretches_of_a_clock_that_was_ahead_are_passed_over(before, ahead, step_ns, data):
    begin_ns, second = NOW_NS - 10**9, 10**8
    right = [begin_ns + n * second for n in range(before + 3)]
    firsts = [*right[:before], *(NOW_NS + step_ns + n for n in range(ahead)), *right[before:]]
    number = data.draw(st.integers(before, before + 2))
    expected = number + ahead - 1 if number > before else before - 1
    assert first_stretch(firsts, right[number], NOW_NS) == expected
