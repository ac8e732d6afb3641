"""Check that a gate that is asked again and again does not pass a worse model in the end."""

from __future__ import annotations

import numpy as np
import pytest

from rdv.analysis.compare.truths import Judged
from rdv.analysis.dataset.reading import Reading
from rdv.analysis.dataset.values import Extract
from rdv.analysis.promote.gate import Figures, _of_loss, missing
from rdv.analysis.promote.study import quality_of
from rdv.decision import Gate

COUNT = 1_500


def probabilities(chance, loss):
    """Both see the truth through noise; the second's AUC is lower by `loss`."""
    truth = (chance.random(COUNT) < 0.4).astype(float)
    first, second = (truth * apart + chance.normal(size=COUNT) for apart in (1.0, 1.0 - 4.5 * loss))
    return Judged(first, second, truth, _keys(), Extract(Reading("probability")))


def classes(chance, loss):
    extract = Extract(Reading("class"))
    codes = [extract.of_value(name) for name in "ab"]
    truth = chance.choice(codes, COUNT)
    first, second = (
        np.where(chance.random(COUNT) < right, truth, codes[1] + codes[0] - truth)
        for right in (0.9, 0.9 - loss)
    )
    return Judged(first, second, truth, _keys(), extract)


def numbers(chance, loss):
    truth = chance.normal(100, 20, COUNT)
    first, second = (truth + chance.normal(0, 5 * (1 + one), COUNT) for one in (0.0, loss))
    return Judged(first, second, truth, _keys(), Extract(Reading("number")))


def _keys():
    return np.arange(COUNT, dtype=np.uint64)


def upto(judged, end):
    columns = (judged.first, judged.second, judged.truth, judged.keys)
    return Judged(*(column[:end] for column in columns), judged.extract)


def passes(made, chance, loss, looks):
    """Return whether the gate passes at any of the looks, a model that is worse by the margin."""
    judged = made(chance, loss)
    limits = Gate(looks=looks, loss_max=loss, relative_loss_max=loss)
    for end in np.linspace(COUNT / looks, COUNT, looks).astype(int).tolist():
        found, problem = quality_of(upto(judged, end), limits)
        assert found is not None, problem
        if _of_loss(found.loss, found.loss_max) == "pass":
            return True
    return False


CASES = {"roc-auc": (probabilities, 0.04), "balanced": (classes, 0.03), "mae": (numbers, 0.05)}


@pytest.mark.parametrize(("made", "loss"), CASES.values(), ids=CASES)
def test_a_model_that_is_worse_by_the_margin_hardly_passes_at_ten_looks(made, loss):
    passed = sum(passes(made, np.random.default_rng(seed), loss, 10) for seed in range(25))
    assert passed <= 2  # a fortieth is promised for each side


@pytest.mark.soak
@pytest.mark.parametrize("looks", [10, 30])
@pytest.mark.parametrize(("made", "loss"), CASES.values(), ids=CASES)
def test_a_model_that_is_worse_by_the_margin_hardly_passes(made, loss, looks):
    runs = 400
    passed = sum(passes(made, np.random.default_rng(seed), loss, looks) for seed in range(runs))
    assert passed <= runs * 0.025 + 3 * np.sqrt(runs * 0.025)


def test_the_intervals_say_for_how_many_looks_they_hold():
    chance = np.random.default_rng(1)
    said = {
        (name, looks): quality_of(made(chance, loss), Gate(looks=looks))[0].holds
        for name, (made, loss) in CASES.items()
        for looks in (1, 10)
    }
    assert said["mae", 10] == "at any look"
    assert said["roc-auc", 10] == said["balanced", 10] == "for 10 looks"
    assert {said[name, 1] for name in CASES} == {"for one look"}


def figures(**changes):
    quality, _ = quality_of(classes(np.random.default_rng(2), 0.0), Gate())
    base = {
        "both": 5000, "judged": COUNT, "quality": quality, "problem": "", "classes": (),
        "versions": "", "agreement": None, "agreement_of": "answers", "kappa": None, "late": 0.0,
        "champion_late": 0.0, "errors": 0.0, "champion_errors": 0.0, "refusals": 0.0,
        "drift": "steady",
    }  # fmt: skip
    return Figures(**{**base, **changes})


@pytest.mark.parametrize(
    ("changes", "limits", "said"),
    [
        ({}, {}, "more known outcomes, if the difference stays as it is"),
        ({"both": 400}, {}, "600 more requests that both have scored; about "),
        ({"judged": 20}, {}, "80 more known outcomes"),
        ({"problem": "no outcome"}, {}, "outcomes that tell which is right (no outcome)"),
        ({"coverage": 0.01}, {"coverage_min": 0.2}, "at least 20.0 % are needed"),
    ],
)
def test_one_line_says_what_is_missing_to_decide(changes, limits, said):
    assert said in missing(figures(**changes), Gate(**limits))


def test_nothing_is_missing_where_the_verdict_is_sure():
    sure, _ = quality_of(classes(np.random.default_rng(2), 0.0), Gate(loss_max=0.5))
    assert missing(figures(quality=sure), Gate()) == ""
