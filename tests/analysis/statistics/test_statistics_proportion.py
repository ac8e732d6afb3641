from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from rdv.analysis.statistics import InvalidSample, wilson

CASES = [(0, 10), (1, 10), (5, 10), (10, 10), (81, 263), (3, 100_000), (99_999, 100_000)]


@pytest.mark.parametrize(("k", "n"), CASES)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_as_statsmodels_has_them(k, n, confidence):
    found = wilson(k, n, confidence)
    expected = proportion_confint(k, n, 1 - confidence, "wilson")
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-7, abs=1e-12)
    assert found.estimate == k / n
    assert found.covers(k / n)


@given(st.integers(0, 400), st.integers(1, 400))
@settings(derandomize=True, max_examples=100)
def test_a_share_is_inside_its_interval(hits, more):
    found = wilson(hits, hits + more)
    assert 0 <= found.low <= hits / (hits + more) <= found.high <= 1


@pytest.mark.parametrize("n", [15, 60])
def test_coverage_of_share_intervals_is_exact(n):
    """Over all outcomes, Wilson's interval covers what it claims on average."""
    k = np.arange(n + 1)
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
