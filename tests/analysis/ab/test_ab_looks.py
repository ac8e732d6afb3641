"""Check by simulation that `ab` may be looked at often: also for skewed metrics, in small cohorts.

Without a difference, a sequence of 95 % excludes 0 at any of the looks in at most 5 % of runs.
"""

from __future__ import annotations

import numpy as np
import pytest

from rdv.analysis.ab.study import MEASURED, METRIC, REQUESTS, REST, Plan, _Study

KEYS, SHARE, LOOKS = 5_000, 0.1, 20


def revenue(chance, count):
    """Two keys of a hundred bring something."""
    return np.where(chance.random(count) < 0.02, chance.lognormal(3, 1.5, count), 0.0)


METRICS = {
    "lognormal": lambda chance, count: chance.lognormal(0, 2, count),
    "revenue": revenue,
    "exponential": lambda chance, count: chance.exponential(1, count),
    "right": lambda chance, count: (chance.random(count) < 0.9).astype(float),
}


class OfOutcomes:
    """A metric as `ab` has it; only its name and kind matter here."""

    def __init__(self, name):
        self.name, self.is_share, self.extract = name, name == "right", None
        self.needs_truth = self.is_of_answers = False


def study(name):
    plan = Plan({"new": SHARE}, {})
    made = _Study.__new__(_Study)
    made._plan, made._metric, made._control = plan, OfOutcomes(name), REST
    return made


def first_false_alarm(name, chance, lift=0.0):
    """Return at which look an effect is said, of a metric whose mean grows by `lift`."""
    from rdv.analysis.ab.study import _Cohort

    values = METRICS[name](chance, KEYS)
    new = chance.random(KEYS) < SHARE
    values = np.where(new, values * (1 + lift), values)
    keys = np.arange(KEYS, dtype=np.uint64)
    made = study(name)
    for end in range(KEYS // LOOKS, KEYS + 1, KEYS // LOOKS):
        made._arms = {REST: _Cohort(), "new": _Cohort()}
        for arm, rows in ((REST, ~new[:end]), ("new", new[:end])):
            columns = np.zeros((5, int(rows.sum())))
            columns[[REQUESTS, MEASURED]] = 1
            columns[METRIC] = values[:end][rows]
            made._arms[arm].sums.add(keys[:end][rows], columns)
        found = made._metric_effect("new", 0.95)
        if found is not None and found.finding in ("better", "worse"):
            assert not found.difference.covers(0)
            assert found.p_value < 0.05
            return end
    return None


def alarms(name, runs, lift=0.0):
    return sum(
        first_false_alarm(name, np.random.default_rng(seed), lift) is not None
        for seed in range(runs)
    )


@pytest.mark.parametrize(("name", "runs"), [("lognormal", 40), ("revenue", 40), ("right", 12)])
def test_looking_often_misleads_no_more_often_than_promised(name, runs):
    assert alarms(name, runs) <= runs // 8  # with a promise of a twentieth


@pytest.mark.soak
@pytest.mark.parametrize("name", METRICS)
def test_looking_often_misleads_no_more_often_than_promised_long(name):
    assert alarms(name, 600) <= 30 + 3 * np.sqrt(600 * 0.05 * 0.95)


def test_an_effect_that_is_there_is_found():
    assert alarms("exponential", 10, lift=0.6) >= 8


def test_a_metric_that_few_keys_decide_says_why_it_is_too_early():
    chance, made = np.random.default_rng(1), study("lognormal")
    from rdv.analysis.ab.study import _Cohort

    made._arms = {REST: _Cohort(), "new": _Cohort()}
    for number, (arm, count) in enumerate(((REST, 900), ("new", 110))):
        columns = np.ones((5, count))
        columns[METRIC] = chance.lognormal(0, 2, count)
        keys = np.arange(count, dtype=np.uint64) + number * 10_000
        made._arms[arm].sums.add(keys, columns)
    found = made._metric_effect("new", 0.95)
    assert (found.finding, found.p_value) == ("too early", 1.0)
    assert "cohort: " in found.why_early


def first_claim(name, seed, lift=0.0, looks=10):
    """Return at which of the looks a difference of a metric that is no mean is claimed."""
    from rdv.analysis.ab.looks import Level, Side, difference_of_cohorts, effect_of, value_of
    from rdv.analysis.dataset.reading import Reading
    from rdv.analysis.dataset.values import Extract
    from rdv.analysis.measure import Measure
    from rdv.analysis.metrics import metric_named

    chance = np.random.default_rng(seed)
    count, keys, level = 6000, 600, Level(0.95, looks)
    key = chance.choice(keys, count, p=(sizes := chance.lognormal(0, 0.7, keys)) / sizes.sum())
    new, liking = chance.random(keys) < 0.5, chance.normal(0, 1, keys)
    truth = (liking[key] + chance.normal(0, 1, count) > 0.7).astype(float)
    score = truth * (1 + lift * new[key]) + 0.5 * liking[key] + chance.normal(0, 1, count)
    points = (score > 1).astype(float) if name == "f1" else score
    measure = Measure(metric_named(name), Extract(Reading("probability")))
    for end in range(count // looks, count + 1, count // looks):
        found = []
        for is_new in (True, False):
            rows = np.flatnonzero(new[key[:end]] == is_new)
            side = Side()
            side.add(key[rows].astype(np.uint64), truth[rows], points[rows])
            found.append(value_of(measure, side, level.of_each))
        each = difference_of_cohorts(("new", REST), *found)
        effect = effect_of((REST, "new"), (keys, keys), level, each, each)
        if effect.finding in ("better", "worse"):
            return end, effect.finding
    return None


NO_MEANS = ["roc-auc", "f1", "pr-auc"]


@pytest.mark.parametrize("name", NO_MEANS[:2])
def test_declared_looks_mislead_no_more_often_than_promised(name):
    assert sum(first_claim(name, seed) is not None for seed in range(16)) <= 2


@pytest.mark.parametrize("name", NO_MEANS[:2])
def test_a_difference_of_a_metric_that_is_no_mean_is_found(name):
    assert all((first_claim(name, seed, lift=1.0) or (0, ""))[1] == "better" for seed in range(3))


@pytest.mark.soak
@pytest.mark.parametrize("name", NO_MEANS)
def test_declared_looks_mislead_no_more_often_than_promised_long(name):
    assert sum(first_claim(name, seed) is not None for seed in range(200)) <= 19
