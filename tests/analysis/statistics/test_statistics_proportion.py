from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from rdv.analysis.statistics import (
    InvalidSample,
    clopper_pearson,
    difference_of_proportions,
    wilson,
)

CASES = [(0, 10), (1, 10), (5, 10), (10, 10), (81, 263), (3, 100_000), (99_999, 100_000)]


@pytest.mark.parametrize(("k", "n"), CASES)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_as_statsmodels_has_them(k, n, confidence):
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "beta")):
        found = ours(k, n, confidence)
        expected = proportion_confint(k, n, 1 - confidence, method)
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-7, abs=1e-12)
        assert found.estimate == k / n
        assert found.covers(k / n)


@given(st.integers(0, 400), st.integers(1, 400))
@settings(derandomize=True, max_examples=100)
def test_a_share_is_inside_its_interval(hits, more):
    found = wilson(hits, hits + more)
    assert 0 <= found.low <= hits / (hits + more) <= found.high <= 1


def test_newcombe_against_his_own_table():
    """The results equal Newcombe (1998), table II, method 10."""
    for counts, low, high in (
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ):
        found = difference_of_proportions(*counts)
        assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)
        expected = confint_proportions_2indep(*counts, method="newcomb", compare="diff")
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n", [15, 60])
def test_coverage_of_share_intervals_is_exact(n):
    """Over all outcomes, the exact interval never covers less, and Wilson's does on average."""
    k = np.arange(n + 1)
    for p in (0.02, 0.1, 0.37, 0.5, 0.9):
        weights = stats.binom.pmf(k, n, p)
        exact = sum(w for w, i in zip(weights, k, strict=True) if clopper_pearson(i, n).covers(p))
        assert exact >= 0.95
    shares = np.linspace(0.05, 0.95, 91)
    covered = [
        sum(
            w
            for w, i in zip(stats.binom.pmf(k, n, p), k, strict=True)
            if wilson(int(i), n).covers(p)
        )
        for p in shares
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01)


def test_nonsense_is_refused():
    for k, n, confidence in ((1, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0), (1, 5, 0)):
        with pytest.raises(InvalidSample):
            wilson(k, n, confidence)
        with pytest.raises(InvalidSample):
            clopper_pearson(k, n, confidence)
