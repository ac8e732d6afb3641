from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from rdv.analysis.statistics import (
    InvalidSample,
    benjamini_hochberg,
    g_test,
    holm,
    rate_anomalies,
    rate_reference,
    rate_scores,
    root_llr,
)

quick = settings(derandomize=True, deadline=None, max_examples=80)

COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=6)


@quick
@given(st.lists(st.lists(st.integers(1, 500), min_size=3, max_size=3), min_size=2, max_size=4))
def test_g_is_that_of_scipy(table):
    found = g_test(table)
    expected = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-8)
    assert found.freedom == expected.dof
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-8)


def test_published_bigrams():
    """G² equals Dunning (1993), table 1: 'the swiss' has 110, 2442, 111, 29114 and G² 270.72."""
    assert g_test([[110, 2442], [111, 29114]]).statistic == pytest.approx(270.72, abs=0.01)
    assert g_test([[0, 5], [0, 9]]).p_value == 1


@quick
@given(COUNTS)
def test_the_root_squared_is_g(counts):
    others = [c + 3 * (i == 0) for i, c in enumerate(counts)]
    roots = root_llr(counts, others)
    for i, root in enumerate(roots):
        table = [[counts[i], sum(counts) - counts[i]], [others[i], sum(others) - others[i]]]
        if sum(counts) and sum(others):
            assert root**2 == pytest.approx(g_test(table).statistic, abs=1e-6)


def test_the_sign_says_where_it_is_more_frequent():
    assert np.sign(root_llr([10, 90], [1, 99])).tolist() == [1, -1]
    assert np.sign(root_llr([1, 99], [10, 90])).tolist() == [-1, 1]
    assert root_llr([10, 90], [20, 180]) == pytest.approx([0, 0], abs=1e-6)


def test_steady_rates_raise_no_alarm_and_bursts_do():
    chance = np.random.default_rng(1)
    alarms = 0
    for _ in range(300):
        reference = rate_reference(chance.poisson(20, 60))
        alarms += bool(rate_anomalies(chance.poisson(20, 100), reference))
    assert alarms / 300 <= 0.03  # promised: 0.01; the tail of the normal is slightly too light
    counts = chance.poisson(20, 100)
    counts[[30, 70]] = 55, 1
    found = rate_anomalies(counts, rate_reference(chance.poisson(20, 60)))
    assert [a.window for a in found] == [30, 70]
    assert found[0].score > 5 > -4 > found[1].score
    assert found[0].expected == pytest.approx(20, abs=2)


def test_bursty_events_are_allowed_to_burst():
    chance = np.random.default_rng(2)
    alarms = 0
    for _ in range(200):
        counts = chance.negative_binomial(4, 0.1, 160)  # mean 36, variance 360
        reference = rate_reference(counts[:60])
        assert 4 < reference.dispersion < 30
        alarms += bool(rate_anomalies(counts[60:], reference))
    assert alarms / 200 <= 0.1
    steady = rate_reference(chance.poisson(36, 60))
    assert rate_anomalies(chance.negative_binomial(4, 0.1, 100), steady)


def test_what_is_expected_may_differ_by_window():
    hours = np.tile([1.0, 4.0, 2.0], 20)
    counts = (hours * 50).astype(int)
    reference = rate_reference(counts, hours)
    assert (reference.rate, reference.dispersion) == (pytest.approx(50), 1)
    assert np.abs(rate_scores(counts, reference, hours)).max() < 1e-6
    assert rate_anomalies(counts, reference)  # taken as equal windows, the counts are uneven


def test_a_reference_of_nothing():
    reference = rate_reference([0] * 50)
    assert rate_anomalies([0, 0], reference) == []
    assert [a.window for a in rate_anomalies([0, 9], reference)] == [1]
    for call in (
        lambda: rate_reference([1, 2]),
        lambda: rate_reference([1] * 5, [1] * 4),
        lambda: rate_reference([1] * 5, [0] * 5),
        lambda: rate_reference([-1] * 5),
        lambda: g_test([1, 2]),
        lambda: root_llr([1, 2], [1]),
        lambda: root_llr([1, -2], [1, 1]),
    ):
        with pytest.raises(InvalidSample):
            call()


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_many_tests_at_once_as_statsmodels_has_them(count):
    p_values = np.random.default_rng(count).beta(0.5, 3, count).round(2)
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(expected, abs=1e-12)
    expected = multipletests(p_values, method="fdr_bh")[1]
    assert benjamini_hochberg(p_values) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(InvalidSample):
        holm([0.5, 1.5])
