from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.load.generator import Histogram
from rdv.load.generator.tally import VALUE_MAX

VALUES = st.lists(st.integers(0, VALUE_MAX), min_size=1, max_size=200)


def filled(values):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(VALUES, st.floats(0, 100))
def test_within_one_per_cent_of_the_exact_percentile(values, percent):
    rank = max(1, math.ceil(percent / 100 * len(values) - 1e-9))
    exact = sorted(values)[rank - 1]
    assert filled(values).percentile(percent) == pytest.approx(exact, rel=0.005, abs=0.5)


@given(VALUES, VALUES)
def test_merging_is_recording_all(one, other):
    merged = filled(one)
    merged.merge(filled(other))
    whole = filled(one + other)
    asked = [0, 50, 99, 99.9, 100]
    assert merged.percentiles(asked) == whole.percentiles(asked)
    assert (merged.count, merged.mean, merged.min, merged.max) == (
        len(one + other),
        sum(one + other) / len(one + other),
        min(one + other),
        max(one + other),
    )


def test_the_edges():
    empty = Histogram()
    assert (empty.percentile(99), empty.mean, empty.max) == (0, 0, 0)
    empty.merge(Histogram())
    assert empty.count == 0
    odd = filled([-5, VALUE_MAX * 10])
    assert (odd.min, odd.max) == (0, VALUE_MAX)
    with pytest.raises(ValueError, match="101"):
        odd.percentile(101)
    odd.clear()
    assert odd.count == odd.percentile(50) == 0


def test_percentiles_come_in_the_order_asked_for():
    histogram = filled(range(1, 101))
    assert histogram.percentiles([99, 50, 99, 1, 100]) == [99, 50, 99, 1, 100]
