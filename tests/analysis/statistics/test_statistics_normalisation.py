from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.analysis.statistics import (
    Digest,
    InvalidSample,
    Normaliser,
    most_disagreeing,
    quantile_pairs,
)

quick = settings(derandomize=True, deadline=None, max_examples=80)

SCORES = st.lists(st.integers(-50, 50), min_size=2, max_size=200)


@quick
@given(SCORES)
def test_ranks_are_those_of_the_reference_with_ties_counted_half(values):
    sample = np.array(values, dtype=float)
    ranks = Normaliser.of(sample).ranks(sample)
    expected = [(np.sum(sample < x) + np.sum(sample == x) / 2) / len(sample) for x in sample]
    assert ranks == pytest.approx(expected)
    assert ranks.mean() == pytest.approx(0.5)


@quick
@given(SCORES, st.floats(0.1, 10), st.floats(-100, 100))
def test_a_scale_does_not_matter(values, slope, shift):
    sample = np.array(values, dtype=float)
    other = np.exp(sample / 20) * slope + shift
    assert np.abs(most_disagreeing(sample, other).difference).max() == pytest.approx(0, abs=1e-12)


def test_beyond_the_reference():
    normaliser = Normaliser.of([1.0, 2.0, 3.0])
    assert normaliser.ranks([0.0, 9.0]).tolist() == [0, 1]
    assert normaliser.ranks([1.5]).tolist() == pytest.approx([1 / 3])


def test_of_a_digest_it_is_nearly_the_same():
    values = np.random.default_rng(1).normal(size=50_000)
    asked = np.linspace(-3, 3, 50)
    assert Normaliser.of(Digest(values)).ranks(asked) == pytest.approx(
        Normaliser.of(values).ranks(asked), abs=5e-4
    )


def test_pairs_of_quantiles_lie_on_the_map_between_the_scales():
    values = np.random.default_rng(1).normal(size=5001)
    pairs = quantile_pairs(values, 3 * values + 2, 9)
    assert pairs.levels == pytest.approx((np.arange(9) + 0.5) / 9)
    assert pairs.second == pytest.approx(3 * pairs.first + 2)
    assert quantile_pairs(Digest(values), values, 9).first == pytest.approx(pairs.first, abs=0.01)
    with pytest.raises(InvalidSample):
        quantile_pairs([1.0], [1.0], 0)


def test_the_largest_differences_come_first_and_name_the_higher_model():
    first = np.arange(100, dtype=float)
    second = first * 10
    second[[7, 93]] = second[[93, 7]]
    second[40], second[45] = second[45], second[40]
    worst = most_disagreeing(first, second, 4)
    assert worst.rows.tolist() == [7, 93, 40, 45]
    assert worst.difference == pytest.approx([-0.86, 0.86, -0.05, 0.05])
    assert len(most_disagreeing(first, second, 0).rows) == 0


def test_the_worst_of_chunks_are_the_worst_of_all():
    chance = np.random.default_rng(4)
    first, second = chance.normal(size=300), chance.normal(size=300)
    normalisers = (Normaliser.of(first), Normaliser.of(second))
    whole = most_disagreeing(first, second, 10)
    rows = np.concatenate(
        [
            start
            + most_disagreeing(
                first[start : start + 100], second[start : start + 100], 10, normalisers=normalisers
            ).rows
            for start in (0, 100, 200)
        ]
    )
    assert set(whole.rows) <= set(rows.tolist())
