"""Check `ab` with experiments whose truth is known, by cohorts and by pairs."""

from __future__ import annotations

import numpy as np
import orjson
import pyarrow as pa
import pytest
from ab_kit import experiment
from hypothesis import given
from hypothesis import strategies as st
from made_log import FAST, PRODUCTION

from rdv.analysis.ab import REST, Plan, run_experiment
from rdv.analysis.ab.metric import Sums, arm_of
from rdv.analysis.ab.view import charts_of
from rdv.analysis.dataset.keys import hashed
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.errors import NoExperiment, NoMetric, TooManyKeys
from rdv.analysis.statistics import Arm
from rdv.decision.outcome import Outcome
from rdv.decision.value import Value

PLAN = Plan({"fast": 0.5}, {REST: PRODUCTION, "fast": FAST})


def look(directory, plan=PLAN, **options):
    with Recorded(str(directory)) as recorded:
        return run_experiment(recorded, plan, **options)


def test_both_ways_find_the_difference(tmp_path):
    found = look(experiment(tmp_path, 4000))
    assert [arm.name for arm in found.arms] == [REST, "fast"]
    assert sum(arm.requests for arm in found.arms) == 4000
    assert found.arms[0].mean == pytest.approx(0.95, abs=0.02)
    assert found.arms[1].mean == pytest.approx(0.85, abs=0.03)
    assert not found.ratio.mismatch
    (one,) = found.comparisons
    assert one.effect.finding == one.paired.finding == "worse"
    assert one.effect.difference.covers(-0.1)
    assert one.paired.difference.covers(-0.1)
    assert one.paired.units == (4000, 4000)
    assert one.paired.difference.peeking
    width = [e.difference.high - e.difference.low for e in (one.effect, one.paired)]
    assert width[1] < width[0]
    assert one.paired.pairs_needed < 2 * one.paired.unpaired_needed
    assert not one.depends
    said = " ".join(found.sentences())
    assert "The split is as planned" in said
    assert "Pairs hold only where the truth does not depend" in said
    assert len(charts_of(found)) == 2


@pytest.mark.parametrize("metric", ["f1", "balanced-accuracy"])
def test_a_metric_that_is_no_mean_is_compared_for_declared_looks(tmp_path, metric):
    declared = Outcome(metric=metric, positive="a")
    found = look(experiment(tmp_path, 4000, keys=2000), outcome=declared, looks=7)
    assert found.metric == metric
    assert found.looks == 7
    (one,) = found.comparisons
    assert one.effect.finding == one.paired.finding == "worse"
    assert one.effect.difference.covers(-0.1)
    assert one.paired.difference.covers(-0.1)
    for arm, value in zip(found.arms, (0.95, 0.85), strict=True):
        assert arm.interval.covers(value)
        assert arm.interval.covers(arm.mean)
    assert not one.effect.difference.peeking
    assert "holds for up to 7 looks" in " ".join(found.sentences())
    assert any("spread over 7 looks" in text for text in found.caveats())


def test_a_metric_that_is_no_mean_claims_nothing_where_nothing_is(tmp_path):
    found = look(experiment(tmp_path, 2000, right=(0.9, 0.9)), metric="balanced-accuracy")
    assert found.comparisons[0].effect.finding == "undecided"
    assert found.comparisons[0].paired.finding == "undecided"


def test_a_metric_that_is_no_mean_is_too_early_with_few_keys(tmp_path):
    found = look(experiment(tmp_path, 400, keys=20), metric="balanced-accuracy")
    assert found.comparisons[0].effect.finding == "too early"
    said = " ".join(found.sentences())
    assert "too early" in said
    assert "keys" in said
    assert "nan" not in said
    assert "NaN" not in orjson.dumps(found.as_json()).decode()


def test_a_split_that_is_not_as_planned(tmp_path):
    found = look(experiment(tmp_path, 2000, drop=0.4))
    assert found.ratio.mismatch
    assert "Do not trust any effect" in found.sentences()[0]


def test_keys_are_the_units(tmp_path):
    found = look(experiment(tmp_path, 2000, keys=300))
    assert sum(arm.keys for arm in found.arms) == 300
    assert found.comparisons[0].effect.units == (found.arms[0].keys, found.arms[1].keys)
    assert found.comparisons[0].paired.units == (300, 300)


def test_outcomes_that_depend_on_the_answer(tmp_path):
    """The outcomes of the cohort's keys depend on the answers, so pairs would mislead."""

    def truths(made, truth):
        return "a" if made.cohort and made.number % 3 else truth

    found = look(experiment(tmp_path, 3000, truths=truths))
    assert found.comparisons[0].depends
    assert "no pairs are formed" in " ".join(found.sentences())


def test_outcomes_known_more_often_in_one(tmp_path):
    def truths(made, truth):
        return None if made.cohort and made.number % 2 else truth

    assert look(experiment(tmp_path, 3000, truths=truths)).comparisons[0].depends


def test_equal_cohorts_are_undecided_and_few_are_too_early(tmp_path):
    found = look(experiment(tmp_path, 1500, right=(0.9, 0.9)))
    assert found.comparisons[0].effect.finding == "undecided"
    assert "not decided yet" in " ".join(found.sentences())
    early = look(tmp_path, until_ns=1_700_000_000 * 10**9 + 300 * 10**6)
    assert early.comparisons[0].effect.finding == "too early"


def test_other_metrics(tmp_path):
    def truths(made, truth):
        return {"label": truth, "gain": 2.0 if made.cohort else 1.0 + made.number % 2}

    experiment(tmp_path, 1200, truths=truths)
    gain = look(tmp_path, metric="gain")
    assert gain.arms[1].mean == 2.0
    assert gain.comparisons[0].effect.difference.covers(0.5)
    assert gain.comparisons[0].paired is None
    assert "depend on the answer" in " ".join(gain.sentences())
    waited = look(tmp_path, metric="waited_ms")
    assert waited.comparisons[0].effect.difference.estimate == pytest.approx(-3, abs=0.5)
    assert waited.comparisons[0].paired.difference.estimate == pytest.approx(-3, abs=0.5)
    assert look(tmp_path, metric="default").arms[0].mean == 0.0
    assert look(tmp_path, depends=True).comparisons[0].paired is None
    with pytest.raises(NoMetric):
        look(tmp_path, metric="loss")


def test_without_outcomes_accuracy_is_refused(tmp_path):
    experiment(tmp_path, 200, truths=None)
    with pytest.raises(NoMetric):
        look(tmp_path)
    assert look(tmp_path, metric="waited_ms").arms


def test_no_cohorts_no_experiment(tmp_path):
    experiment(tmp_path, 20)
    with pytest.raises(NoExperiment):
        look(tmp_path, Plan({}, {REST: PRODUCTION}))


def test_without_a_rest_the_first_cohort_is_the_control(tmp_path):
    experiment(tmp_path, 400, shares={"fast": 0.5, "slow": 0.5})
    plan = Plan({"fast": 0.5, "slow": 0.5}, {"fast": FAST, "slow": FAST})
    found = look(tmp_path, plan)
    assert [arm.name for arm in found.arms] == ["fast", "slow"]
    assert found.comparisons[0].control == "fast"
    assert found.comparisons[0].paired.difference.estimate == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=4, max_size=80))
def test_sums_by_key_equal_those_of_requests(rows):
    keys, values = (np.array(side) for side in zip(*rows, strict=True))
    sums = Sums(2)
    for part in np.array_split(np.arange(len(rows)), 3):
        columns = np.stack([np.ones(len(part)), values[part]]).astype(np.float64)
        sums.add(keys[part].astype(np.uint64), columns)
    found = arm_of("x", sums.values[1], sums.values[0], is_binary=True)
    if len(set(keys.tolist())) < 2:
        assert found is None
        return
    whole = Arm.of("x", values, keys)
    assert (found.count, found.rare) == (whole.count, whole.rare)
    assert found.mean == pytest.approx(whole.mean)
    assert found.variance == pytest.approx(whole.variance)


def test_keys_are_bounded(monkeypatch):
    monkeypatch.setattr("rdv.analysis.ab.metric.KEYS_MAX", 10)
    with pytest.raises(TooManyKeys):
        Sums(1).add(np.arange(11).astype(np.uint64), np.ones((1, 11)))


def test_requests_without_a_key_are_units_of_their_own():
    keys = pa.array(["a", None, "a", None], pa.large_string())
    found = hashed(keys, np.array([b"1", b"2", b"3", b"4"], "S32"))
    assert found[0] == found[2]
    assert len(set(found.tolist())) == 3


def test_the_metrics_by_name(tmp_path):
    """A value of 2 for each right answer and -1 for each wrong one is 3 times accuracy, less 1."""
    experiment(tmp_path, 2000)
    right = look(tmp_path)
    cost = {"a": {"a": 2.0, "b": -1.0}, "b": {"a": -1.0, "b": 2.0}}
    found = look(tmp_path, metric="value", value=Value(cost=cost))
    for arm, other in zip(found.arms, right.arms, strict=True):
        assert arm.mean == pytest.approx(3 * other.mean - 1)
    pairs, others = found.comparisons[0].paired, right.comparisons[0].paired
    assert pairs.difference.estimate == pytest.approx(3 * others.difference.estimate)
    declared = look(tmp_path, outcome=Outcome(metric="value"), value=Value(cost=cost))
    assert declared.metric == "value"
    assert look(tmp_path, metric="accuracy").arms[0].mean == pytest.approx(right.arms[0].mean)
    with pytest.raises(NoMetric, match="declare positive"):
        look(tmp_path, metric="roc-auc")
    with pytest.raises(NoMetric, match="no entry for the action b"):
        look(tmp_path, metric="value", value=Value(cost={"a": cost["a"]}))
