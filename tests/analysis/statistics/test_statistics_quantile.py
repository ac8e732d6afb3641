from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rdv.analysis.statistics import (
    Digest,
    InvalidSample,
    latency,
    quantile_interval,
    quantile_intervals,
)
from rdv.analysis.statistics.latency import curve
from rdv.analysis.statistics.quantile import interval_ranks

quick = settings(derandomize=True, deadline=None, max_examples=80)


@quick
@given(st.integers(1, 3000), st.floats(0.001, 0.999), st.sampled_from([0.9, 0.95, 0.99]))
def test_ranks_are_exact_and_as_tight_as_can_be(n, level, confidence):
    tail = (1 - confidence) / 2
    low, high = interval_ranks(n, level, confidence)
    assert 0 <= low < high <= n + 1
    below, above = stats.binom.cdf(low - 1, n, level), stats.binom.sf(high - 1, n, level)
    slack = 1e-9
    assert below <= tail + slack
    assert above <= tail + slack
    assert low == n or stats.binom.cdf(low, n, level) > tail - slack
    assert high == 1 or stats.binom.sf(high - 2, n, level) > tail - slack


def test_as_scipy_has_it():
    values = np.random.default_rng(5).lognormal(size=400)
    for level in (0.1, 0.5, 0.95):
        expected = stats.quantile_test(values, p=level).confidence_interval(0.95)
        found = quantile_interval(values, level)
        assert (found.low, found.high) == (expected.low, expected.high)


def test_coverage_by_simulation_is_as_promised_even_with_ties():
    chance = np.random.default_rng(7)
    n, runs, level = 150, 4000, 0.9
    low, high = interval_ranks(n, level, 0.95)
    smooth = np.sort(chance.exponential(size=(runs, n)), axis=1)
    truth = -math.log(1 - level)
    covered = np.mean((smooth[:, low - 1] <= truth) & (truth <= smooth[:, high - 1]))
    assert 0.95 <= covered < 0.98
    lumpy = np.sort(chance.poisson(3, size=(runs, n)), axis=1)
    covered = np.mean((lumpy[:, low - 1] <= 5) & (lumpy[:, high - 1] >= 5))  # P(X<=5) = 0.916
    assert covered >= 0.95


def test_too_few_values_leave_a_side_open():
    found = quantile_interval([1.0, 2.0, 3.0], 0.99)
    assert (found.estimate, found.high) == (3.0, math.inf)
    assert not found.bounded
    assert quantile_interval(np.arange(1, 101), 0.99).estimate == 99
    assert [i.estimate for i in quantile_intervals([3, 1, 2], [0.01, 0.5])] == [1, 2]


def test_latency_of_values_and_of_their_digest():
    values = np.random.default_rng(3).gamma(2, 5, size=20_000)
    whole, summary = latency(values, limit_ms=40), latency(Digest(values), limit_ms=40)
    assert [p.name for p in whole.percentiles] == ["p50", "p90", "p95", "p99", "p99.9"]
    for exact, near in zip(whole.percentiles, summary.percentiles, strict=True):
        for end in ("estimate", "low", "high"):
            a, b = getattr(exact.latency_ms, end), getattr(near.latency_ms, end)
            assert np.mean(values <= b) == pytest.approx(np.mean(values <= a), abs=5e-4)
    assert whole.late.estimate == np.mean(values > 40)
    assert summary.late.estimate == pytest.approx(whole.late.estimate, abs=2e-4)
    assert (summary.count, summary.max_ms) == (20_000, values.max())
    assert summary.mean_ms == pytest.approx(whole.mean_ms)


def test_latency_of_nothing_is_refused():
    for nothing in ([], Digest()):
        with pytest.raises(InvalidSample):
            latency(nothing)
    with pytest.raises(InvalidSample, match="not finite"):
        latency([1.0, math.nan])


def test_curve_rises_and_reaches_both_ends():
    values = np.random.default_rng(3).gamma(2, 5, size=5000)
    for source in (values, Digest(values)):
        x, levels = curve(source, 50)
        assert (levels[0], levels[-1]) == (0, 1)
        assert (np.diff(x) >= 0).all()
        assert (x[0], x[-1]) == (values.min(), values.max())
