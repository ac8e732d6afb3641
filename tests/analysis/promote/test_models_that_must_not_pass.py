"""Check that the gate opens for no model that is worse, however that is hidden."""

from __future__ import annotations

import msgspec
import pytest
from compare_kit import record_outcomes, scored

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.promote.gate import judge
from rdv.analysis.promote.study import compare_newest, figures_of
from rdv.decision import Gate
from rdv.decision.outcome import INFERRED, Outcome

COUNT = 3_000


def gate_of(directory, log, outcomes, declared=INFERRED, limits=Gate()):  # noqa: B008
    log.write(directory)
    record_outcomes(directory, outcomes)
    with Recorded(str(directory)) as recorded:
        compared = compare_newest(
            recorded, "gbm", "logit", outcome=declared, window_ms=50.0, canary="rules"
        )
        return judge(figures_of(compared, limits), limits)


def check(gate, name):
    return next(one for one in gate.checks if one.name == name)


def is_positive(number):
    return number % 50 == 0


@pytest.mark.parametrize("challenger", ["constant", "noise"])
def test_a_model_that_never_finds_the_rare_class(tmp_path, challenger):
    """2 % are positive: 98 % of a constant's answers are right, and as many of the champion's."""

    def answers(number, chance):
        good = 0.3 * chance.random() + (0.15 if is_positive(number) else 0.0)
        poor = 0.0 if challenger == "constant" else 0.4 * chance.random()
        return {"score": good}, {"score": poor}, {"score": 0.1}

    outcomes = [(n, int(is_positive(n))) for n in range(COUNT)]
    gate = gate_of(tmp_path, scored(COUNT, answers), outcomes)
    assert check(gate, "quality").verdict == "fail"
    assert "ROC AUC" in check(gate, "quality").text
    assert gate.verdict == "fail"


def test_a_better_model_passes_though_the_class_is_rare(tmp_path):
    def answers(number, chance):
        champion = chance.random() + (0.4 if is_positive(number) else 0.0)
        challenger = 0.1 * chance.random() + (0.8 if is_positive(number) else 0.0)
        return {"score": champion / 2}, {"score": challenger}, {"score": 0.1}

    outcomes = [(n, int(is_positive(n))) for n in range(COUNT)]
    gate = gate_of(tmp_path, scored(COUNT, answers), outcomes)
    assert check(gate, "quality").verdict == "pass"
    assert check(gate, "each class").verdict == "pass"


def test_an_always_yes_model_where_only_positives_are_known(tmp_path):
    def answers(number, chance):
        return {"score": 0.2 + 0.4 * (number % 100 == 0)}, {"score": 1.0}, {"score": 0.1}

    outcomes = [(n, 1) for n in range(0, COUNT, 10)]
    gate = gate_of(tmp_path, scored(COUNT, answers), outcomes)
    found = check(gate, "quality")
    assert found.verdict == "fail"
    assert "every known outcome is 1" in found.text


def test_positives_only_are_judged_once_it_is_declared_what_the_rest_is(tmp_path):
    def answers(number, chance):
        good = 0.5 * (number % 10 == 0) + 0.6 * chance.random()
        return {"score": good / 2}, {"score": 1.0}, {"score": 0.1}

    outcomes = [(n, 1) for n in range(0, COUNT, 10)]
    declared = Outcome(mature_after_ms=1_000, mature_as="0")
    gate = gate_of(tmp_path, scored(COUNT, answers), outcomes, declared)
    assert check(gate, "quality").verdict == "fail"
    assert f"{COUNT:,} known outcomes" in check(gate, "quality").text


def test_a_bad_new_version_behind_a_good_old_one(tmp_path):
    def answers(number, chance):
        truth = number % 2
        good = truth if chance.random() < 0.95 else 1 - truth
        champion = truth if chance.random() < 0.8 else 1 - truth
        poor = truth if chance.random() < 0.5 else 1 - truth
        return {"label": champion}, {"label": good if number < 2_500 else poor}, {"label": 0}

    log = scored(4_000, answers)
    for made in log.requests[2_500:]:
        at_ms, score = made.reports[1]
        made.reports[1] = at_ms, msgspec.structs.replace(score, version="2")
    gate = gate_of(tmp_path, log, [(n, n % 2) for n in range(4_000)])
    assert check(gate, "quality").verdict == "fail"
    assert "2,500 earlier results" in check(gate, "requests").text
    assert check(gate, "requests").figure <= 1_500


WRITTEN = {
    "whole": (1, 0),
    "float": (1.0, 0.0),
    "text": ("1", "0"),
    "pandas": ("1.0", "0.0"),
    "bool": (True, False),
    "words": ("True", "False"),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_the_verdict_does_not_depend_on_how_outcomes_are_written(tmp_path, written):
    """Answers carry a score and an action, as those of the fraud template."""
    yes, no = WRITTEN[written]

    def answers(number, chance):
        good = 0.9 if number % 3 == 0 else 0.1
        poor = chance.random()
        return (
            {"score": good, "action": "decline" if good > 0.5 else "approve"},
            {"score": poor, "action": "decline" if poor > 0.5 else "approve"},
            {"score": 0.5, "action": "review"},
        )

    outcomes = [(n, {"fraud": yes if n % 3 == 0 else no}) for n in range(1_500)]
    gate = gate_of(tmp_path, scored(1_500, answers), outcomes)
    assert check(gate, "quality").verdict == "fail"
    assert "1,500 known outcomes" in check(gate, "quality").text


def test_the_champion_is_right_in_whatever_type_it_answers(tmp_path):
    forms = [str, int, float]

    def answers(number, chance):
        truth = number % 4
        form = forms[number % 3]
        poor = truth if chance.random() < 0.5 else (truth + 1) % 4
        return {"label": form(truth)}, {"label": poor}, {"label": 0}

    outcomes = [(n, float(n % 4)) for n in range(1_500)]
    gate = gate_of(tmp_path, scored(1_500, answers), outcomes)
    assert check(gate, "quality").verdict == "fail"
    assert "the champion 100" in check(gate, "quality").text


def test_words_that_nobody_explained_are_not_taken_for_wrong_answers(tmp_path):
    def answers(number, chance):
        return (
            {"score": 0.9, "action": "decline"},
            {"score": 0.1, "action": "approve"},
            {"score": 0},
        )

    words = [(n, "fraud" if n % 3 else "honest") for n in range(1_500)]
    log = scored(1_500, answers)
    gate = gate_of(tmp_path, log, words)
    assert check(gate, "quality").verdict == "fail"
    assert "outcomes say fraud, honest" in check(gate, "quality").text


def test_rows_that_no_model_can_score_are_no_errors_of_the_challenger(tmp_path):
    def answers(number, chance):
        if number % 50 == 0:
            return None, None, {"label": 0}
        return {"label": number % 2}, {"label": number % 2}, {"label": 0}

    gate = gate_of(tmp_path, scored(1_500, answers), [(n, n % 2) for n in range(1_500)])
    assert check(gate, "errors").verdict == "pass"


def test_few_keys_say_nothing(tmp_path):
    """1,500 requests of four users are four observations."""

    def answers(number, chance):
        return {"label": 0}, {"label": number % 2}, {"label": 0}

    log = scored(1_500, answers)
    for made in log.requests:
        made.key = f"user-{made.number % 4}"
    gate = gate_of(tmp_path, log, [(n, n % 2) for n in range(1_500)])
    assert check(gate, "quality").verdict != "pass"


def test_a_champion_that_answers_in_another_field_is_not_always_wrong(tmp_path):
    """The champion gives a score only, the challenger a label that is wrong half of the time."""

    def answers(number, chance):
        return {"score": float(number % 2)}, {"label": chance.randrange(2)}, {"label": 0}

    gate = gate_of(tmp_path, scored(1_500, answers), [(n, n % 2) for n in range(1_500)])
    assert check(gate, "quality").verdict == "fail"
    assert "never answers with" in check(gate, "quality").text
