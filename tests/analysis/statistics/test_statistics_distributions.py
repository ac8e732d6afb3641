"""Check the distribution functions in plain Python against SciPy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from rdv.analysis.statistics import distributions as ours

quick = settings(derandomize=True, deadline=None, max_examples=80)

SHAPES = st.floats(0.3, 5e4)
SHARES = st.floats(1e-6, 1 - 1e-6)


@quick
@given(SHARES, SHAPES, SHAPES)
def test_beta(x, a, b):
    assert ours.beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-8, abs=1e-12)


@quick
@given(SHARES, st.floats(0.5, 500), st.floats(0.5, 500))
def test_beta_quantile(p, a, b):
    assert ours.beta_quantile(p, a, b) == pytest.approx(stats.beta.ppf(p, a, b), rel=1e-7)


def test_beta_of_a_very_large_sample():
    n = 10**9
    assert ours.beta_cdf(0.5 + 1e-5, n, n) == pytest.approx(
        stats.norm.cdf(1e-5 * math.sqrt(8 * n)), abs=1e-5
    )


@quick
@given(st.integers(0, 400), st.floats(0.001, 0.999), st.data())
def test_binomial(n, p, data):
    k = data.draw(st.integers(-1, n + 1))
    assert ours.binomial_cdf(k, n, p) == pytest.approx(stats.binom.cdf(k, n, p), abs=1e-11)
    assert ours.binomial_pmf(k, n, p) == pytest.approx(stats.binom.pmf(k, n, p), abs=1e-11)


@quick
@given(st.floats(0, 1e5), st.floats(0.5, 1e5))
def test_chi_square(x, freedom):
    assert ours.chi_square_sf(x, freedom) == pytest.approx(
        stats.chi2.sf(x, freedom), rel=1e-7, abs=1e-14
    )


@quick
@given(SHARES, st.floats(1, 1000))
def test_chi_square_quantile(p, freedom):
    assert ours.chi_square_quantile(p, freedom) == pytest.approx(
        stats.chi2.ppf(p, freedom), rel=1e-7, abs=1e-12
    )


@quick
@given(st.floats(-30, 30), st.floats(1, 1e9))
def test_student(t, freedom):
    assert ours.student_sf(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=1e-5, abs=1e-14)


@quick
@given(st.floats(1e-4, 1 - 1e-4), st.floats(1, 1e9))
def test_student_quantile(p, freedom):
    assert ours.student_quantile(p, freedom) == pytest.approx(
        stats.t.ppf(p, freedom), rel=1e-6, abs=1e-9
    )


@quick
@given(st.floats(0, 10))
def test_kolmogorov(x):
    assert ours.kolmogorov_sf(x) == pytest.approx(special.kolmogorov(x), abs=1e-9)


def test_normal():
    for z in (-8, -1.0, 0, 2.5, 20):
        assert ours.normal_sf(z) == pytest.approx(stats.norm.sf(z), rel=1e-12)
    assert ours.normal_quantile(0.975) == pytest.approx(1.959963984540054)
    assert ours.two_sided_z(0.95) == pytest.approx(1.959963984540054)


def test_edges():
    assert ours.beta_cdf(-1, 2, 3) == 0
    assert ours.beta_cdf(2, 2, 3) == 1
    assert (ours.beta_quantile(0, 2, 3), ours.beta_quantile(1, 2, 3)) == (0, 1)
    assert ours.chi_square_sf(0, 3) == 1
    assert ours.kolmogorov_sf(0) == 1
    assert ours.student_quantile(0.5, 5) == pytest.approx(0, abs=1e-12)
