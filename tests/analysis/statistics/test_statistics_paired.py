from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.power import NormalIndPower

from rdv.analysis.statistics import InvalidSample, compare_shares, sample_size, shares_of_counts

quick = settings(derandomize=True, deadline=None, max_examples=80)


def test_published_figures():
    """The data are from Fagerland, Lydersen & Laake (2013), airway hyper-responsiveness."""
    found = shares_of_counts(1, 1, 7, 12)
    assert found.exact_p == pytest.approx(0.0703, abs=5e-5)
    assert found.mid_p == pytest.approx(0.0391, abs=5e-5)
    assert found.difference.estimate == pytest.approx(-6 / 21)


@quick
@given(*[st.integers(0, 60)] * 4)
def test_mcnemar_is_that_of_statsmodels(both, b, c, neither):
    if both + b + c + neither == 0:
        return
    found = shares_of_counts(both, b, c, neither)
    if b + c:
        expected = mcnemar([[both, b], [c, neither]], exact=True).pvalue
        assert found.exact_p == pytest.approx(expected, abs=1e-9)
    assert 0 <= found.mid_p <= found.exact_p <= 1
    assert found.difference.low <= found.difference.high
    assert found.requests == both + b + c + neither


def test_counts_from_pairs():
    found = compare_shares([True, True, False, False, True], [1, 0, 1, 0, 0])
    assert (found.both, found.only_first, found.only_second, found.neither) == (1, 2, 1, 1)
    assert shares_of_counts(3, 0, 0, 2).mid_p == 1
    for first, second in (([1], [1, 0]), ([2], [1]), ([], []), ([0.5], [1])):
        with pytest.raises(InvalidSample):
            compare_shares(first, second)


def test_coverage_of_the_paired_intervals():
    chance = np.random.default_rng(2)
    runs, n = 3000, 60
    shares = np.array([0.7, 0.12, 0.05, 0.13])
    truth = shares[1] - shares[2]
    tables = chance.multinomial(n, shares, runs).tolist()
    hits = np.mean([shares_of_counts(*t).difference.covers(truth) for t in tables])
    assert hits == pytest.approx(0.95, abs=0.02)


def test_the_error_rate_of_mid_p():
    chance = np.random.default_rng(3)
    tables = chance.multinomial(100, [0.6, 0.1, 0.1, 0.2], 4000).tolist()
    rate = np.mean([shares_of_counts(*t).mid_p < 0.05 for t in tables])
    assert 0.03 < rate < 0.055


def test_sample_size_is_that_of_statsmodels():
    expected = NormalIndPower().solve_power(effect_size=0.1, alpha=0.05, power=0.8)
    assert sample_size(2.0, 0.1) == math.ceil(expected)
    assert sample_size(2.0, 0) == math.inf
    for variance, difference in ((-1, 1), (1, math.nan)):
        with pytest.raises(InvalidSample):
            sample_size(variance, difference)


def test_pairs_need_far_fewer():
    """Two models with 95 and 94 % accuracy are mostly wrong on the same requests."""
    found = shares_of_counts(9350, 150, 50, 450)
    assert found.pairs_needed == sample_size(0.02 - 0.0001, 0.01)
    assert found.unpaired_needed == sample_size(0.95 * 0.05 + 0.94 * 0.06, 0.01)
    assert 2 * found.unpaired_needed / found.pairs_needed > 10


def test_the_power_is_as_promised():
    chance = np.random.default_rng(4)
    found = shares_of_counts(935, 15, 5, 45)
    n = int(found.pairs_needed)
    tables = chance.multinomial(n, [0.935, 0.015, 0.005, 0.045], 1500).tolist()
    power = np.mean([shares_of_counts(*t).mid_p < 0.05 for t in tables])
    assert power == pytest.approx(0.8, abs=0.05)
