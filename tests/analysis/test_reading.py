"""Check how answers and outcomes are read: what is the same class, and which field is judged."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.analysis.dataset.reading import Reading, class_name, infer, number_of
from rdv.analysis.dataset.values import Extract
from rdv.decision.outcome import INFERRED, Outcome

ONES = [1, 1.0, "1", "1.0", True, "true", "True", " TRUE ", "1e0"]
ZEROS = [0, 0.0, -0.0, "0", "0.0", False, "false", "False", "-0"]


@pytest.mark.parametrize("same", [ONES, ZEROS, [3, 3.0, "3", "3.00", " 3 "], ["block", " block "]])
def test_values_that_mean_the_same_are_one_class(same):
    assert len({class_name(value) for value in same}) == 1


def test_values_that_differ_are_different_classes():
    different = [0, 1, 2, -1, 0.5, "a", "A", "01", "1 0", "yes", [1], {"a": 1}, 2**53, 2**53 + 1]
    assert len({class_name(value) for value in different}) == len(different)


@pytest.mark.parametrize(
    "missing", [None, math.nan, math.inf, "", "  ", "NaN", "nan", "None", "NA"]
)
def test_a_missing_value_is_no_class(missing):
    assert class_name(missing) is None


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_whole_numbers_are_one_class_however_they_are_written(number):
    assert class_name(number) == class_name(float(number)) == class_name(str(number))
    assert class_name(number) == class_name(f"{number}.0") == class_name(repr(float(number)))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_one_class_however_they_are_written(number):
    assert class_name(number) == class_name(repr(number))
    assert number_of(number) == number_of(repr(number)) == number


def judged(reading: Reading, answers: list, truths: list) -> list[float]:
    extract = Extract(reading)
    values = np.array([extract.of_answer(answer) for answer in answers])
    return extract.judge(values, np.array([extract.of_truth(truth) for truth in truths])).tolist()


FRAUD = [{"score": s, "action": a} for s, a in ((0.9, "block"), (0.1, "allow"), (0.6, "review"))]


@pytest.mark.parametrize(
    ("answers", "truths", "kind", "field"),
    [
        ([{"action": "a"}, {"action": "b"}], ["a", "b"], "class", "action"),
        ([{"label": 3, "score": 0.2}], [3.0, 1.0], "class", "label"),
        ([{"label": 1, "score": 0.2}, {"label": 0, "score": 0.7}], ["1", "0"], "class", "label"),
        (FRAUD, [0, 1], "probability", "score"),
        (FRAUD, [True, False], "probability", "score"),
        (FRAUD, ["0.0", "1.0"], "probability", "score"),
        (FRAUD, [{"fraud": True}, {"fraud": False}], "probability", "score"),
        (FRAUD, ["allow", "block"], "class", "action"),
        ([0.3, 0.9], [0, 1], "probability", ""),
        ([1, 0, 1], [0, 1], "class", ""),
        ([1.0, 0.0], ["True", "False"], "class", ""),
        ([12.5, 13.1], [12.0, 14.5, 15.5], "number", ""),
        ([{"score": 12.5}], ["12.0", "14.5", "15.5"], "number", "score"),
        (["a", "b"], ["b", "c"], "class", ""),
    ],
)
def test_the_judged_field_is_inferred_from_both_sides(answers, truths, kind, field):
    found = infer(answers, truths, INFERRED)
    assert (found.kind, found.answer, found.problem) == (kind, field, "")
    assert "inferred" in found.sentence()


@pytest.mark.parametrize(
    ("answers", "truths"),
    [
        (FRAUD, ["fraud", "honest"]),
        ([{"action": "block"}, {"action": "allow"}], [0, 1]),
        ([{"items": [1, 2]}], [0, 1]),
        ([{"action": "a"}], [{"x": 1, "y": 2}, {"x": 2, "y": 1}]),
    ],
)
def test_what_cannot_be_compared_is_not_judged(answers, truths):
    found = infer(answers, truths, INFERRED)
    assert "[outcome]" in found.problem
    count = min(len(answers), len(truths))
    assert all(math.isnan(right) for right in judged(found, answers[:count], truths[:count]))


@pytest.mark.parametrize(
    "words", [("1", "0"), (1, 0), (1.0, 0.0), (True, False), ("True", "False")]
)
def test_a_score_is_judged_however_outcomes_are_written(words):
    yes, no = words
    found = infer(FRAUD, [yes, no], INFERRED)
    assert judged(found, FRAUD, [yes, no, no]) == [1, 1, 0]


def test_words_are_judged_once_the_positive_one_is_declared():
    found = infer(FRAUD, ["fraud", "honest"], Outcome(positive="fraud"))
    assert judged(found, FRAUD, ["fraud", "honest", "honest"]) == [1, 1, 0]
    assert "inferred" not in found.sentence()


def test_actions_are_judged_by_what_they_are_declared_to_mean():
    means = {"block": "fraud", "allow": "honest", "review": "honest"}
    found = infer(FRAUD, ["fraud", "honest"], Outcome(means=means))
    assert (found.kind, found.answer) == ("class", "action")
    assert judged(found, FRAUD, ["fraud", "fraud", "honest"]) == [1, 0, 1]


def test_a_declared_threshold_counts():
    declared = Outcome(type="probability", threshold=0.95)
    found = infer(FRAUD, [1, 0], declared)
    assert judged(found, FRAUD, [1, 0, 0]) == [0, 1, 1]


def test_the_field_that_is_named_counts():
    found = infer([{"label": 1, "score": 0.2}], [1, 0], INFERRED, on="score")
    assert (found.kind, found.answer) == ("probability", "score")


def test_the_order_of_answers_does_not_matter():
    answers = [{"value": 3}, {"value": 2.5}, {"value": 7}]
    truths = [1, 2.5, 3]
    assert infer(answers, truths, INFERRED, "value") == infer(
        answers[::-1], truths[::-1], INFERRED, "value"
    )
    assert infer(answers, [], INFERRED, "value") == infer(answers[::-1], [], INFERRED, "value")


def test_no_answer_is_wrong_and_no_outcome_is_unknown():
    reading = Reading("class", "label")
    found = judged(reading, [{"label": 1}, {}, {"label": 1}], [1, 1, None])
    assert found[:2] == [1, 0]
    assert math.isnan(found[2])


@pytest.mark.parametrize("kind", ["auto", "class", "probability", "number"])
def test_a_declared_field_that_no_outcome_has_is_named(kind):
    found = infer(FRAUD, [{"label": 1}, {"label": 0}], Outcome(type=kind, field="fraud"))
    assert "no outcome has the field 'fraud'" in found.problem


@pytest.mark.parametrize("truths", [[0, 1], ["fraud", "honest"], [True, False]])
def test_a_named_field_that_fits_no_outcome_makes_no_answer_wrong(truths):
    found = infer(FRAUD, truths, INFERRED, on="action")
    assert "answers say allow, block, review" in found.problem
    assert all(math.isnan(right) for right in judged(found, FRAUD[:2], truths))


def test_the_field_that_most_answers_have_is_judged():
    answers = [{"score": 0.3}, {"label": 1, "score": 0.9}, {"score": 0.8}]
    found = infer(answers, [1, 0], INFERRED)
    assert (found.kind, found.answer) == ("probability", "score")
