"""`optimise` measures by the metric that was asked for, whichever it is, and by no other one."""

from __future__ import annotations

import random

import numpy as np
import pytest
from compare_kit import record_outcomes, scored

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.errors import NothingToSearch
from rdv.analysis.metrics import metric_named
from rdv.analysis.optimise.scorer import _ranks
from rdv.analysis.optimise.study import optimise
from rdv.decision.outcome import Outcome
from rdv.rendezvous.schedule import schedule_from_object

COUNT = 1200
LIVE = schedule_from_object(
    {"sla_ms": 50, "default": {"score": 0.05}, "step": [{"accept": ["rules"]}]}, "production"
)
DECLARED = Outcome(type="probability", answer="score")


def is_fraud(number):
    return random.Random(number).random() < 0.2


def scores(number):
    """gbm orders perfectly below one half; logit is sure of a third; rules know a little."""
    chance = random.Random(f"{number}")
    fraud = is_fraud(number)
    return (
        round(0.25 * chance.random() + (0.25 if fraud else 0.0), 4) * 0.99,
        0.9 if fraud and chance.random() < 0.35 else round(0.1 * chance.random(), 4),
        round(min(1.0, max(0.0, 0.3 + 0.15 * fraud + 0.2 * chance.gauss(0, 1))), 2),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("optimise")
    log = scored(COUNT, lambda n, _: [{"score": one} for one in scores(n)], arrive_ms=(1, 1.5, 2))
    for request in log.requests:
        request.key = f"customer-{request.number // 2}"
    log.schedules = {"production": LIVE}
    log.write(directory)
    record_outcomes(directory, [(n, int(is_fraud(n))) for n in range(COUNT)])
    with Recorded(str(directory)) as recorded:
        yield recorded


def found_by(made, metric, **more):
    return optimise(made, LIVE, metric=metric, outcome=DECLARED, tries=120, **more)


def first_model(point):
    return point.schedule.steps[0].accept[0]


@pytest.mark.parametrize(
    "name",
    [
        "roc-auc", "pr-auc", "recall@fpr=0.1", "precision@k=50", "f1", "balanced-accuracy",
        "calibration", "rmse",
    ],
)  # fmt: skip
def test_the_figures_are_those_of_the_metric(made, name):
    found = found_by(made, name)
    assert found.metric.name == metric_named(name).name
    late = range(COUNT // 2, COUNT)
    values = np.array([scores(n)[2] for n in late])
    if metric_named(name).needs == "class":
        values = (values >= 0.5).astype(float)
    truths = np.array([float(is_fraud(n)) for n in late])
    assert found.live.score.estimate == pytest.approx(metric_named(name).of(values, truths))
    assert any(f"{found.metric.name} itself" in text for text in found.remarks)
    for point in found.frontier:
        gain = point.score.estimate - found.live.score.estimate
        gain = gain if found.metric.higher_is_better else -gain
        assert point.gain.estimate == pytest.approx(gain, abs=1e-9)
        assert point.gain.low <= point.gain.estimate <= point.gain.high


def test_the_choice_is_that_of_the_metric(made):
    assert first_model(found_by(made, "roc-auc").chosen) == "gbm"
    assert first_model(found_by(made, "accuracy").chosen) == "logit"
    assert found_by(made, "roc-auc").chosen.score.estimate == pytest.approx(1.0)


def test_the_metric_of_outcome_is_not_changed_either(made):
    declared = Outcome(type="probability", answer="score", metric="roc-auc")
    found = optimise(made, LIVE, outcome=declared, tries=60)
    assert found.metric.name == "roc-auc"
    assert first_model(found.chosen) == "gbm"
    assert found.price is not None
    assert "ROC AUC" in found.price.table()[0]


def test_a_metric_without_a_value_is_refused(made):
    with pytest.raises(NothingToSearch, match="has no value"):
        found_by(made, "precision@k=5000")


def test_the_guide_of_scores_is_a_roc_auc():
    chance = np.random.default_rng(1)
    truth = chance.random(300) < 0.3
    score = np.round(chance.normal(size=300) + truth, 1)
    ranks = _ranks(score[None], truth)[0]
    expected = metric_named("roc-auc").of(score, truth.astype(float))
    assert ranks[truth].mean() == pytest.approx(expected)
    assert ranks[~truth].mean() == pytest.approx(expected)
