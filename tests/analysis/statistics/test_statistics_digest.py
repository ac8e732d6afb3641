from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.analysis.statistics import Digest, InvalidSample
from rdv.analysis.statistics.digest import CENTROIDS_MAX

quick = settings(derandomize=True, deadline=None, max_examples=80)

LEVELS = np.array([0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999])


@pytest.mark.parametrize("shape", ["normal", "lognormal", "uniform"])
def test_merged_chunks_are_as_good_as_the_whole(shape):
    values = getattr(np.random.default_rng(1), shape)(size=200_000)
    chunks = [Digest(chunk) for chunk in np.array_split(values, 37)]
    merged = Digest.merged(chunks)
    ordered = np.sort(values)
    for digest in (Digest(values), merged):
        reached = np.searchsorted(ordered, digest.quantiles(LEVELS)) / len(values)
        assert np.abs(reached - LEVELS).max() < 1e-3
        assert np.abs(reached - LEVELS)[[0, -1]].max() < 5e-5
    assert merged.count == 200_000
    assert (merged.low, merged.high) == (values.min(), values.max())
    assert merged.mean == pytest.approx(values.mean())
    assert chunks[0].count == len(np.array_split(values, 37)[0])


def test_memory_is_bounded():
    digest = Digest()
    for seed in range(20):
        digest.add(np.random.default_rng(seed).normal(size=10_000))
    assert len(digest.to_bytes()) < 20 * CENTROIDS_MAX


@quick
@given(st.lists(st.integers(0, 5), min_size=1, max_size=300))
def test_the_curve_counts_ties_half(values):
    found, levels = Digest(values).curve()
    sample = np.array(values)
    expected = [(np.sum(sample < x) + np.sum(sample == x) / 2) / len(sample) for x in found]
    assert found.tolist() == sorted(set(values))
    assert levels == pytest.approx(expected)


def test_there_and_back_through_bytes():
    digest = Digest([1.0, 2.0, 5.0])
    again = Digest.from_bytes(digest.to_bytes())
    assert (again.count, again.low, again.high) == (3, 1, 5)
    with pytest.raises(InvalidSample, match="cannot be read"):
        Digest.from_bytes(b"nonsense")


def test_what_cannot_be_summarised():
    digest = Digest()
    digest.add([])
    for ask in (lambda: digest.low, lambda: digest.quantiles([0.5]), digest.curve):
        with pytest.raises(InvalidSample, match="no values"):
            ask()
    with pytest.raises(InvalidSample, match="not finite"):
        digest.add([1.0, np.inf])
    assert digest.count == 0
    with pytest.raises(InvalidSample, match="between 0 and 1"):
        Digest([1.0]).quantiles([1.5])
