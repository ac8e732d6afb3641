"""Check by simulation how often intervals cover the truth, and how often looks raise false alarms.

The quick tests have few trials, fixed seeds and wide limits; `make soak` measures every row of the
table that `make coverage` prints.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import coverage_metrics
from rdv.analysis.metrics import difference, metric_named, sequence
from rdv.analysis.metrics.interval import of_number
from rdv.analysis.metrics.units import Pulls
from rdv.analysis.statistics import Interval

ROWS = {f"{kind}, {name}": trial for kind, name, _, trial, _ in coverage_metrics.rows()}


@pytest.mark.soak
@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_table(row):
    covered, _ = coverage_metrics.measure(ROWS[row], 400, seed=1)
    assert covered is None or covered > 0.91  # 95 % without four standard errors


@pytest.mark.parametrize("name", ["f1", "roc-auc", "pr-auc", "rmse", "precision@k=100"])
def test_intervals_of_one_model_cover_its_metric(name):
    covered, none = coverage_metrics.measure(coverage_metrics.one_model(name, 60), 50, seed=2)
    assert covered > 0.85
    assert none < 0.3


@pytest.mark.parametrize("name", ["mae", "pinball@0.9"])
def test_differences_of_numbers_mislead_no_more_often_than_promised(name):
    """Keys of unequal sizes: Hall's interval alone misses in 5.0 to 6.5 % of runs."""
    trial = coverage_metrics.no_difference(name, 100)
    covered, none = coverage_metrics.measure(trial, 500, seed=11)
    assert covered > 0.935
    assert none < 0.05


def test_an_interval_of_numbers_reaches_at_least_as_far_as_students():
    chance = np.random.default_rng(4)
    for _ in range(200):
        pulls = Pulls(chance.exponential(size=60) - 1, 60.0)
        found = of_number(3.0, pulls, 2.1)
        assert found.low <= 3.0 - 2.1 * pulls.error
        assert found.high >= 3.0 + 2.1 * pulls.error


def clustered(chance, keys, size):
    """Return two models' labels and the truth: each model is right or wrong of whole keys."""
    place = np.repeat(np.arange(keys), size)
    truth = (chance.random(len(place)) < 0.5).astype(float)
    right = chance.random((2, keys)) < 0.8
    first, second = (np.where(one[place], truth, 1 - truth) for one in right)
    return first, second, truth, place


def test_keys_that_are_alike_are_no_evidence():
    """Without any difference, requests taken for independent say "better" in most runs."""
    chance, metric = np.random.default_rng(3), metric_named("accuracy")
    by_key = by_request = 0
    runs = 120
    for _ in range(runs):
        first, second, truth, keys = clustered(chance, 100, 20)
        by_key += not difference(metric, first, second, truth, keys).covers(0)
        by_request += not difference(metric, first, second, truth).covers(0)
    assert by_key / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert by_request / runs > 0.5


def test_a_difference_that_is_there_is_found():
    """80 % against 88 % of 400 keys: the power for one look is about 0.85 (Lachin 1981)."""
    chance, metric = np.random.default_rng(4), metric_named("accuracy")
    once = always = 0
    runs = 60
    for _ in range(runs):
        keys = np.repeat(np.arange(400), 5)
        truth = (chance.random(2000) < 0.5).astype(float)
        first, second = (
            np.where((chance.random(400) < share)[keys], truth, 1 - truth) for share in (0.88, 0.8)
        )
        once += difference(metric, first, second, truth, keys).low > 0
        found = sequence(metric, first, second, truth, keys, tightest_at=400)
        always += isinstance(found, Interval) and found.low > 0
    assert 0.7 < once / runs < 0.98
    assert 0.3 < always / runs < once / runs  # what it costs to be allowed to look at any time


@pytest.mark.parametrize("name", coverage_metrics.SKEWED)
def test_looking_thirty_times_at_skewed_values_misleads_no_more_often_than_promised(name):
    trial = coverage_metrics.in_cohorts(name, 5000, 0.1)
    held = [trial(np.random.default_rng(seed)) for seed in range(40)]
    assert held.count(False) <= 5  # of 40, with a promise of 2


def test_one_sided_errors_looked_at_often():
    """The second model alone errs, for one key in fifty: a skewed difference of shares."""
    chance, metric = np.random.default_rng(5), metric_named("accuracy")
    wrong = 0
    for _ in range(40):
        truth = (chance.random(1500) < 0.5).astype(float)
        second = np.where(chance.random(1500) < 0.02, 1 - truth, truth)
        looked = (
            sequence(metric, truth[:end], second[:end], truth[:end])
            for end in range(100, 1501, 100)
        )
        wrong += any(isinstance(one, Interval) and not one.covers(0.02) for one in looked)
    assert wrong <= 5
