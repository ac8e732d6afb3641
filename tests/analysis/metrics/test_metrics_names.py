"""Check names of metrics, and answers that are missing, unknown, or of the wrong kind."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from rdv.analysis.metrics import (
    InvalidMetric,
    Lists,
    Undefined,
    UnknownMetric,
    metric_named,
    metric_names,
)
from rdv.analysis.statistics import InvalidSample


def test_every_name_names_a_metric_and_is_its_own_name():
    for name in metric_names():
        assert metric_named(name).name == name
        assert metric_named(name).undefined_when


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("precision@100", "precision@k=100"),
        ("ndcg@k=10", "ndcg@10"),
        ("recall@0.01", "recall@fpr=0.01"),
        ("recall@fpr=1e-3", "recall@fpr=0.001"),
        ("pinball@q=0.9", "pinball@0.9"),
        ("calibration@bins=10", "calibration"),
        ("calibration@20", "calibration@bins=20"),
        (" f1 ", "f1"),
    ],
)
def test_one_metric_has_one_name(text, name):
    assert metric_named(text).name == name
    assert metric_named(name).name == name


@pytest.mark.parametrize(
    ("text", "near"), [("roc-ac", "roc-auc"), ("AUC", "roc-auc"), ("acuracy", "accuracy")]
)
def test_an_unknown_name_gets_the_nearest_and_all(text, near):
    with pytest.raises(UnknownMetric) as raised:
        metric_named(text)
    hint = raised.value.hint()
    assert near in hint
    assert all(name in hint for name in metric_names())


@pytest.mark.parametrize(
    "text",
    [
        "precision",
        "precision@",
        "precision@k=0",
        "precision@k=1.5",
        "precision@fpr=3",
        "precision@k=ten",
        "precision@k=nan",
        "precision@k=inf",
        "recall@fpr=0",
        "recall@fpr=1",
        "recall@fpr=nan",
        "pinball@1.5",
        "ndcg@-1",
        "f1@2",
        "roc-auc@",
        "calibration@1",
    ],
)
def test_a_wrong_setting_is_an_error_with_an_example(text):
    with pytest.raises(InvalidMetric) as raised:
        metric_named(text)
    metric_named(raised.value.example)


def test_importing_the_metrics_imports_no_library_but_numpy():
    code = (
        "import sys, rdv.analysis.metrics; print({'scipy', 'sklearn', 'pandas'} & {*sys.modules})"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


TRUTH = [1, 0, 1, 0]
WRONG = {
    "accuracy": 0.5,
    "balanced-accuracy": 0.5,
    "f1": 0.5,
    "roc-auc": 0.25,
    "brier": 0.5,
    "log-loss": -math.log(np.finfo(float).eps) / 2,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_missing_answer_is_wrong_or_left_out_as_the_caller_says(name):
    metric, answers = metric_named(name), [1.0, 0.0, np.nan, np.nan]
    with pytest.raises(InvalidSample, match="2 of 4 requests have no answer"):
        metric.of(answers, TRUTH)
    assert metric.of(answers, TRUTH, missing="left out") == metric.of([1.0, 0.0], [1, 0])
    assert metric.of(answers, TRUTH, missing="wrong") == pytest.approx(WRONG[name])
    assert metric.of([None, None], [0, 1], missing="wrong") != metric.of([0, 1], [0, 1])
    nothing = metric.of([None, None], [0, 1], missing="left out")
    assert isinstance(nothing, Undefined)


def test_all_missing_answers_rank_below_everything():
    assert metric_named("roc-auc").of([np.nan] * 4, TRUTH, missing="wrong") == 0
    assert metric_named("recall@fpr=0.5").of([np.nan] * 4, TRUTH, missing="wrong") == 0
    assert metric_named("precision@k=2").of([np.nan] * 4, TRUTH, missing="wrong") == 0


@pytest.mark.parametrize("name", ["mae", "rmse", "pinball@0.5", "value"])
def test_no_number_is_the_wrong_one(name):
    with pytest.raises(InvalidSample):
        metric_named(name).of([1.0, np.nan], [1.0, 2.0], missing="wrong")
    assert metric_named(name).of([1.0, np.nan], [1.0, 2.0], missing="left out") in {0.0, 1.0}


def test_labels_may_be_text_numbers_or_booleans_but_text_is_no_number():
    accuracy, f1 = metric_named("accuracy"), metric_named("f1")
    assert accuracy.of(["a", "b", "c"], ["a", "b", "b"]) == pytest.approx(2 / 3)
    assert accuracy.of([True, False, True], [1, 0, 0]) == pytest.approx(2 / 3)
    assert f1.of(["yes", None, "no"], ["yes", "no", "no"], missing="wrong", positive="yes") == (
        pytest.approx(2 / 3)
    )
    with pytest.raises(InvalidSample, match="none can match"):
        accuracy.of(["1", "0"], [1, 0])
    with pytest.raises(InvalidSample, match="none can match"):
        accuracy.of([1, 0], np.array(["1", "0"], dtype=object))
    with pytest.raises(InvalidSample, match="'maybe'"):
        f1.of(["yes", "no"], ["yes", "no"], positive="maybe")


def test_truths_that_are_not_0_and_1_need_a_positive():
    auc = metric_named("roc-auc")
    assert auc.of([0.9, 0.1], ["fraud", "honest"], positive="fraud") == 1
    for truths in (["fraud", "honest"], [1, 2], [0.5, 1]):
        with pytest.raises(InvalidSample, match="say which value is positive"):
            auc.of([0.9, 0.1], truths)


@pytest.mark.parametrize(
    ("name", "values", "truths"),
    [
        ("brier", [1.2, 0.1], [1, 0]),
        ("log-loss", [-0.1, 0.1], [1, 0]),
        ("mae", [1.0, np.inf], [1, 0]),
        ("mae", [1.0, 2.0], [1, np.nan]),
        ("accuracy", [1, 0], [1, None]),
        ("accuracy", [1, 0], [1]),
        ("accuracy", [[1, 0]], [[1, 0]]),
        ("accuracy", [1, 0], None),
        ("roc-auc", ["high", "low"], [1, 0]),
        ("ndcg@2", [1, 0], [1, 0]),
        ("mae", Lists.of([[1.0]]), Lists.of([[1.0]])),
        ("ndcg@2", Lists.of([[1.0, 2.0]]), Lists.of([[1.0]])),
        ("ndcg@2", Lists.of([[1.0, 2.0]]), Lists.of([[1.0, -1.0]])),
    ],
)
def test_what_cannot_be_measured_is_an_error(name, values, truths):
    with pytest.raises(InvalidSample):
        metric_named(name).of(values, truths)


@pytest.mark.parametrize("weights", [[1.0], [-1.0, 1.0], [np.nan, 1.0], ["heavy", 1.0]])
def test_weights_that_are_none(weights):
    with pytest.raises(InvalidSample):
        metric_named("accuracy").of([1, 0], [1, 0], weights=weights)


def test_where_nothing_can_be_said_it_says_why():
    always = np.ones(50)
    for name in metric_names():
        metric = metric_named(name)
        if metric.needs in ("class", "score", "probability"):
            for truths in (always, 0 * always):
                found = metric.of(always, truths)  # everything known is alike
                assert isinstance(found, Undefined), name
                assert found.reason
                assert found.metric == name
    few = metric_named("precision@k=100").of([0.9, 0.1], [1, 0])
    assert isinstance(few, Undefined)
    assert "fewer than 100" in few.reason
    empty = metric_named("mae").of([], [])
    assert isinstance(empty, Undefined)


def test_ranked_lists_of_items():
    answers = [["a", "b", "c"], ["d", "a"], None, []]
    truths = [{"a": 3.0, "c": 1.0}, "a", "b", ["c"]]
    scores, gains = Lists.ranked(answers, truths)
    ndcg, hits = metric_named("ndcg@3"), metric_named("hit-rate@1")
    dcg = 3 + 1 / np.log2(4), 3 + 1 / np.log2(3)
    first, second = dcg[0] / dcg[1], 1 / np.log2(3)
    assert ndcg.of(scores, gains, missing="wrong") == pytest.approx((first + second) / 4)
    assert ndcg.of(scores, gains, missing="left out") == pytest.approx((first + second) / 2)
    assert hits.of(scores, gains, missing="wrong") == 0.25
    assert hits.of(scores, gains, missing="left out") == 0.5


def test_an_item_that_was_not_answered_gains_nothing():
    scores, gains = Lists.ranked([["x"]], [["a", "b"]])
    assert metric_named("ndcg@5").of(scores, gains) == 0
    assert metric_named("hit-rate@5").of(scores, gains) == 0
    scores, gains = Lists.ranked([["a", "a", "a"]], [["a", "b"]])  # repeating it gains nothing
    assert metric_named("ndcg@2").of(scores, gains) < 1


def test_values_are_shown_with_digits_and_unit():
    assert metric_named("accuracy").text(0.9731) == "97.3 %"
    assert metric_named("roc-auc").text(0.9) == "0.9000"
    assert metric_named("value").text(-1234.5) == "-1,234.50"
    assert metric_named("accuracy").is_better(0.9, 0.8)
    assert metric_named("mae").is_better(0.8, 0.9)
