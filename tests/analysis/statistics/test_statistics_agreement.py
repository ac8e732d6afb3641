from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from rdv.analysis.statistics import InvalidSample, agreement_of_classes, agreement_of_scores


def test_kappa_and_its_interval_are_those_of_statsmodels():
    chance = np.random.default_rng(1)
    first = chance.choice(["ham", "spam", "virus"], 300, p=[0.6, 0.3, 0.1])
    second = np.where(chance.random(300) < 0.7, first, chance.choice(["ham", "spam"], 300))
    found = agreement_of_classes(first, second)
    expected = cohens_kappa(found.table)
    assert found.classes == ("ham", "spam", "virus")
    assert found.kappa.estimate == pytest.approx(expected.kappa)
    assert (found.kappa.low, found.kappa.high) == pytest.approx(
        (expected.kappa_low, expected.kappa_upp)
    )
    assert found.rate.estimate == np.mean(first == second)
    assert found.table[1, 0] == np.sum((first == "spam") & (second == "ham"))


def test_classes_at_the_edges():
    same = agreement_of_classes([1, 2, 1], [1, 2, 1])
    assert (same.rate.estimate, same.kappa.estimate) == (1, 1)
    always = agreement_of_classes([True, True], [True, True])
    assert math.isnan(always.kappa.estimate)
    assert agreement_of_classes([0, 1, 0, 1], [1, 0, 1, 0]).kappa.estimate == -1
    for first, second in (([], []), ([1], [1, 2]), (range(1001), range(1001))):
        with pytest.raises(InvalidSample):
            agreement_of_classes(list(first), list(second))


def test_correlation_of_ranks_is_that_of_scipy_with_ties():
    chance = np.random.default_rng(2)
    first = chance.normal(size=400).round(1)
    second = np.exp(first + chance.normal(size=400)).round(1)
    found = agreement_of_scores(first, second)
    assert found.correlation.estimate == pytest.approx(stats.spearmanr(first, second).statistic)
    assert found.correlation.covers(found.correlation.estimate)


def test_scores_at_the_edges():
    up = np.arange(200.0)
    same, reversed_ = agreement_of_scores(up, up**3), agreement_of_scores(up, -up)
    assert (same.correlation.estimate, same.mean_difference, same.overlap.estimate) == (1, 0, 1)
    assert reversed_.correlation.estimate == -1
    assert reversed_.mean_difference == pytest.approx(0.5)
    assert reversed_.overlap.estimate == 0
    assert math.isnan(agreement_of_scores(up, np.ones(200)).correlation.estimate)
    assert agreement_of_scores(np.ones(200), np.ones(200)).overlap.estimate == 1
    with pytest.raises(InvalidSample):
        agreement_of_scores([1, 2, 3], [1, 2, 3])


def test_models_that_have_nothing_to_do_with_each_other():
    chance = np.random.default_rng(3)
    found = agreement_of_scores(chance.normal(size=20_000), chance.normal(size=20_000))
    assert found.mean_difference == pytest.approx(1 / 3, abs=0.01)
    assert found.overlap.estimate == pytest.approx(0.05, abs=0.02)


def test_coverage_of_both_intervals():
    chance = np.random.default_rng(5)
    rho, n, runs = 0.6, 80, 600
    truth = 6 / math.pi * math.asin(rho / 2)
    hits = 0
    for _ in range(runs):
        a = chance.normal(size=n)
        b = rho * a + math.sqrt(1 - rho**2) * chance.normal(size=n)
        hits += agreement_of_scores(a, b).correlation.covers(truth)
    assert hits / runs == pytest.approx(0.95, abs=0.03)
    shares = np.array([[0.4, 0.1], [0.15, 0.35]])
    chance_rate = 0.5 * 0.55 + 0.5 * 0.45
    truth = (0.75 - chance_rate) / (1 - chance_rate)
    hits = 0
    for _ in range(runs):
        cells = chance.choice(4, 200, p=shares.ravel())
        hits += agreement_of_classes(cells // 2, cells % 2).kappa.covers(truth)
    assert hits / runs == pytest.approx(0.95, abs=0.03)
