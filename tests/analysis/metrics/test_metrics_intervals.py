"""Check the intervals: against published formulas, and where there is little or nothing to say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.analysis.metrics import (
    Cohort,
    Lists,
    NoSequence,
    TooFew,
    Undefined,
    cohort_sequence,
    difference,
    estimate,
    looks,
    metric_named,
    metric_names,
    sequence,
)
from rdv.analysis.metrics.sample import sample_of
from rdv.analysis.metrics.units import Units, pulls_of, shares_of
from rdv.analysis.statistics import Arm, Interval, InvalidSample, wilson

quick = settings(derandomize=True, deadline=None, max_examples=60)


def answers_for(metric, chance, count):
    """Return two models' answers and truths of the kind that the metric needs, with ties."""
    truth = (chance.random(count) < 0.4).astype(float)
    first, second = (np.round(0.5 * truth + 0.5 * chance.random(count), 2) for _ in range(2))
    if metric.needs == "class":
        return (first > 0.5) * 1.0, (second > 0.5) * 1.0, truth
    if metric.needs == "list":
        gains = chance.integers(0, 2, (count, 5)).astype(float)
        return (*(Lists.of(chance.integers(0, 9, (count, 5))) for _ in range(2)), Lists.of(gains))
    return first, second, truth


def pulls(name, values, truths, keys=None, weights=None):
    metric = metric_named(name)
    sample = sample_of(metric.needs, values, truths, weights=weights)
    measured = metric.measured(sample)
    units = Units.of(keys, sample.rows, len(values))
    shares = shares_of(measured, sample.weights, units)
    return pulls_of(measured.influence, sample.weights, units, shares)


def test_the_error_of_roc_auc_is_that_of_delong():
    chance = np.random.default_rng(0)
    truth = chance.random(150) < 0.3
    score = np.round(truth + chance.normal(size=150), 1)
    positive, negative = score[truth], score[~truth]
    above = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    expected = above.mean(axis=1).var(ddof=1) / len(positive)
    expected += above.mean(axis=0).var(ddof=1) / len(negative)
    found = pulls("roc-auc", score, truth * 1.0).error
    assert found == pytest.approx(math.sqrt(expected))


def test_the_error_of_roc_auc_by_key_is_that_of_obuchowski():
    chance = np.random.default_rng(1)
    keys = np.repeat(np.arange(60), 4)
    truth = np.tile([1.0, 0.0, 0.0, 1.0], 60)  # equal shares, so that the corrections agree
    score = truth + chance.normal(size=60)[keys] + chance.normal(size=240)
    positive, negative = score[truth > 0], score[truth == 0]
    above = (positive[:, None] > negative) * 1.0
    area = above.mean()
    ten, one = above.mean(axis=1).reshape(60, 2), above.mean(axis=0).reshape(60, 2)
    a, b = (ten - area).sum(axis=1), (one - area).sum(axis=1)
    factor = 60 / 59
    expected = factor * (np.sum(a * a) + np.sum(b * b) + 2 * np.sum(a * b)) / 120**2
    assert pulls("roc-auc", score, truth, keys).error == pytest.approx(math.sqrt(expected))


def test_the_error_of_a_mean_is_that_of_the_delta_method():
    chance = np.random.default_rng(2)
    keys = np.repeat(np.arange(40), 5)
    value = chance.normal(size=40)[keys] + chance.normal(size=200)
    found = pulls("value", value, None, keys).error
    assert found == pytest.approx(Arm.of("a", value, keys).standard_error)
    alone = pulls("value", value, None).error
    assert alone == pytest.approx(Arm.of("a", value).standard_error)


@pytest.mark.parametrize(
    "name", [n for n in metric_names() if n[:6] not in {"recall", "precis", "calibr"}]
)
def test_the_influence_is_the_derivative_by_the_weight_of_a_request(name):
    metric, chance = metric_named(name), np.random.default_rng(3)
    values, _, truths = answers_for(metric, chance, 40)
    weights = chance.uniform(0.5, 2, 40)
    sample = sample_of(metric.needs, values, truths, weights=weights)
    influence = metric.measured(sample).influence
    assert weights @ influence == pytest.approx(0, abs=1e-9)
    for row in range(0, 40, 7):
        moved = [weights.copy(), weights.copy()]
        moved[0][row] += 1e-5
        moved[1][row] -= 1e-5
        up, down = (metric.of(values, truths, weights=one) for one in moved)
        assert (up - down) / 2e-5 == pytest.approx(influence[row], rel=1e-4, abs=1e-8)


@quick
@given(
    st.sampled_from(metric_names()),
    st.integers(1, 300),
    st.integers(1, 120),
    st.integers(0, 2**31),
    st.sampled_from([0.9, 0.95, 0.9999]),
)
def test_an_interval_has_a_width_and_everything_else_a_reason(name, count, keys, seed, confidence):
    metric, chance = metric_named(name), np.random.default_rng(seed)
    first, second, truth = answers_for(metric, chance, count)
    key, weight = chance.integers(0, keys, count), chance.integers(0, 3, count)
    found = [
        estimate(metric, first, truth, key, confidence, weights=weight),
        difference(metric, first, second, truth, key, confidence, weights=weight),
    ]
    for one in found:
        if isinstance(one, Interval):
            assert math.isfinite(one.low)
            assert math.isfinite(one.high)
            assert one.low <= one.estimate <= one.high
            assert one.low < one.high
            assert one.method
        else:
            assert isinstance(one, TooFew | Undefined)
            assert one.reason
            assert "nan" not in one.reason
    swapped = difference(metric, second, first, truth, key, confidence, weights=weight)
    assert type(swapped) is type(found[1])
    if isinstance(swapped, Interval):
        assert (swapped.low, swapped.high) == pytest.approx((-found[1].high, -found[1].low))


@pytest.mark.parametrize("name", ["accuracy", "f1", "roc-auc", "pr-auc", "brier", "rmse"])
def test_the_same_requests_ten_times_tell_no_more(name):
    metric, chance = metric_named(name), np.random.default_rng(4)
    first, second, truth = answers_for(metric, chance, 300)
    key = np.arange(300) // 3
    ten = [np.repeat(one, 10) for one in (first, second, truth, key)]
    once = estimate(metric, first, truth, key)
    again = estimate(metric, ten[0], ten[2], ten[3])
    assert (again.low, again.high) == pytest.approx((once.low, once.high))
    apart = difference(metric, first, second, truth, key)
    again = difference(metric, *ten)
    assert (again.low, again.high) == pytest.approx((apart.low, apart.high))


@pytest.mark.parametrize("name", ["accuracy", "balanced-accuracy", "f1", "roc-auc", "pr-auc"])
def test_all_right_is_not_certain(name):
    truth = np.tile([1.0, 0.0], 150)
    found = estimate(metric_named(name), truth, truth, np.arange(300) // 6)
    assert found.estimate == found.high == 1
    by_keys = wilson(50, 50).low
    assert by_keys - 0.02 < found.low <= by_keys  # 50 keys count, not 300 requests


def test_two_that_answer_alike_are_not_certain_to_be_alike():
    truth = np.tile([1.0, 0.0], 150)
    found = difference(metric_named("accuracy"), truth, truth, truth)
    assert found.estimate == 0
    assert -0.02 < found.low < -0.005 < 0.005 < found.high < 0.02
    for name in ("roc-auc", "f1", "mae", "recall@fpr=0.2", "calibration"):
        same = difference(metric_named(name), truth, truth, truth)
        assert isinstance(same, TooFew)
        assert "differ on only 0 requests" in same.reason


def test_too_few_says_of_what():
    truth = np.array([1.0] * 4 + [0.0] * 96)
    score = np.linspace(1, 0, 100)
    assert (
        "only 4 requests with positives" in estimate(metric_named("roc-auc"), score, truth).reason
    )
    few = estimate(metric_named("accuracy"), truth, truth, np.arange(100) % 12)
    assert few == TooFew("accuracy", 1.0, "only 12 keys, an interval needs 20")
    one = np.where(np.arange(1000) < 950, 0, np.arange(1000))
    reason = estimate(metric_named("accuracy"), np.tile(truth, 10), np.tile(truth, 10), one).reason
    assert "one key has 95% of the requests" in reason
    spread = np.append(np.ones(999), 1e6)
    spread[:500] = 2
    reason = estimate(metric_named("value"), spread).reason
    assert "a few requests decide it" in reason
    assert isinstance(estimate(metric_named("value"), spread, bounds=(0, 10)), Interval)


def test_bounds_are_part_of_what_is_measured():
    values = np.random.default_rng(0).lognormal(0, 2, 2000)
    metric = metric_named("value")
    found = estimate(metric, values, bounds=(0, 5))
    assert found.estimate == pytest.approx(np.minimum(values, 5).mean())
    assert "cut at 0 and 5" in found.method
    for bounds in ((1, 1), (2, 1), (0, math.inf), (math.nan, 1)):
        with pytest.raises(InvalidSample):
            estimate(metric, values, bounds=bounds)
    with pytest.raises(InvalidSample, match="not a mean"):
        estimate(metric_named("roc-auc"), [0.1, 0.2], [0, 1], bounds=(0, 1))


def test_a_request_is_left_out_for_both():
    truth = np.tile([1.0, 0.0], 100)
    first, second = truth.copy(), truth.copy()
    first[:40] = np.nan
    second[150:] = 1 - second[150:]
    second[:50] = 1 - second[:50]
    found = difference(metric_named("accuracy"), first, second, truth, missing="left out")
    assert found.estimate == pytest.approx(60 / 160)
    with pytest.raises(InvalidSample):
        difference(metric_named("accuracy"), first, second, truth)
    with pytest.raises(InvalidSample):
        difference(metric_named("accuracy"), first[1:], second, truth, missing="left out")


@pytest.mark.parametrize("keys", [[1, 2], [[1] * 50] * 4, ["a"] * 199 + [None]])
def test_keys_that_are_none(keys):
    truth = np.tile([1.0, 0.0], 100)
    with pytest.raises(InvalidSample):
        estimate(metric_named("accuracy"), truth, truth, np.array(keys, dtype=object))


def test_text_keys_are_keys():
    truth, key = np.tile([1.0, 0.0], 100), np.arange(200) // 4
    named = [f"customer {one}" for one in key]
    for keys in (named, np.array(named, dtype=object)):
        by_text = estimate(metric_named("roc-auc"), truth, truth, keys)
        assert by_text == estimate(metric_named("roc-auc"), truth, truth, key)


def test_only_means_have_a_sequence():
    truth = np.tile([1.0, 0.0], 100)
    for name in metric_names():
        metric = metric_named(name)
        if not metric.is_mean:
            with pytest.raises(NoSequence, match="Declare how many looks"):
                sequence(metric, truth, truth, truth)


def test_a_sequence_is_wider_than_one_look_and_begins_later():
    chance = np.random.default_rng(5)
    truth = (chance.random(4000) < 0.5) * 1.0
    first, second = (np.where(chance.random(4000) < 0.1, 1 - truth, truth) for _ in range(2))
    key = np.arange(4000) // 4
    metric = metric_named("accuracy")
    always = sequence(metric, first, second, truth, key)
    once = difference(metric, first, second, truth, key)
    assert always.peeking
    assert not once.peeking
    assert always.low < once.low
    assert always.high > once.high
    early = sequence(metric, first[:300], second[:300], truth[:300], key[:300])
    assert early.reason == "only 75 keys, a sequence begins at 100"


def test_cohorts_need_keys_that_differ_in_each():
    chance = np.random.default_rng(6)
    many = Cohort.of(chance.random(5000), np.ones(5000))
    ones = np.zeros(500)
    ones[:5] = 1
    few = Cohort.of(ones, np.ones(500))
    assert "the second cohort: only 5 keys differ" in cohort_sequence("value", many, few).reason
    assert isinstance(cohort_sequence("value", many, many), Interval)
    with pytest.raises(InvalidSample):
        Cohort.of([1.0], [0.0])


@quick
@given(st.integers(1, 200), st.sampled_from(["even", "late"]), st.sampled_from([0.9, 0.95, 0.99]))
def test_looks_spend_the_level_and_no_more(total, spending, confidence):
    found = looks(confidence, total, spending)
    assert len(found) == total
    assert sum(1 - one for one in found) == pytest.approx(1 - confidence)
    assert all(confidence - 1e-12 <= one < 1 for one in found)
    assert found[0] >= found[-1]


def test_late_looks_keep_most_of_the_level():
    """Compare O'Brien & Fleming's spending with 5 looks at 5 %: 0.0005 % at first, 5 % in all."""
    found = looks(0.95, 5, "late")
    assert 1 - found[-1] == pytest.approx(0.05 - 2 * 0.01422, abs=2e-3)
    with pytest.raises(InvalidSample):
        looks(0.95, 0)


@pytest.mark.parametrize("name", ["roc_auc", "ROC-AUC", " Roc_Auc "])
def test_names_are_read_as_scikit_learn_writes_them(name):
    assert metric_named(name) is metric_named("roc-auc")
