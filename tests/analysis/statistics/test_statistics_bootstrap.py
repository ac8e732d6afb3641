from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rdv.analysis.statistics import InvalidSample, bootstrap_interval


def correlation(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(1).exponential(size=60)
    one = bootstrap_interval(np.mean, values, seed=4, resamples=500)
    assert one == bootstrap_interval(np.mean, values, seed=4, resamples=500)
    assert one != bootstrap_interval(np.mean, values, seed=5, resamples=500)


@pytest.mark.parametrize("statistic", [np.mean, np.std])
def test_bootstrap_intervals_are_near_scipys(statistic):
    values = np.random.default_rng(2).lognormal(size=80)
    ours = bootstrap_interval(statistic, values, seed=1, resamples=6000)
    theirs = stats.bootstrap(
        (values,), statistic, n_resamples=6000, method="BCa", rng=np.random.default_rng(9)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.06 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.06 * width)


def test_pairs_stay_pairs():
    a = np.random.default_rng(3).normal(size=100)
    found = bootstrap_interval(correlation, a, 2 * a, seed=1, resamples=200)
    assert found.low == pytest.approx(1)


def test_coverage_of_a_skewed_mean():
    chance = np.random.default_rng(11)
    covered = [
        bootstrap_interval(np.mean, chance.exponential(size=60), seed=run, resamples=300).covers(1)
        for run in range(250)
    ]
    assert 0.89 <= np.mean(covered) <= 0.99


def test_a_constant_has_an_interval_without_width():
    found = bootstrap_interval(np.mean, np.ones(5), seed=1)
    assert (found.low, found.high) == (1, 1)
    for call in (
        lambda: bootstrap_interval(np.mean, seed=1),
        lambda: bootstrap_interval(np.mean, [1.0], seed=1),
        lambda: bootstrap_interval(correlation, [1.0, 2.0], [1.0, 2.0, 3.0], seed=1),
        lambda: bootstrap_interval(np.mean, [1.0, 2.0], seed=1, resamples=0),
        lambda: bootstrap_interval(lambda _: np.nan, [1.0, 2.0], seed=1),
    ):
        with pytest.raises(InvalidSample):
            call()
