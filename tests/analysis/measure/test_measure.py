"""Check that every command measures by the metric that was asked for, and says what it cannot."""

from __future__ import annotations

import json
import math
import random

import msgspec
import numpy as np
import pytest
from compare_kit import record_outcomes, scored

from rdv.__main__ import main
from rdv.analysis.compare import compare
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.measure import choose_measure
from rdv.analysis.measure.choose import measure_for
from rdv.analysis.measure.kept import Kept
from rdv.analysis.metrics import UnknownMetric, metric_named, metric_names
from rdv.analysis.promote.gate import judge
from rdv.analysis.promote.study import compare_newest, figures_of, quality_of
from rdv.analysis.whatif.study import what_if
from rdv.commands.options import METRICS
from rdv.decision import Gate
from rdv.decision.outcome import Outcome
from rdv.decision.value import Value
from rdv.models import ModelNotLoaded
from rdv.rendezvous.schedule import schedule_from_object

COST = Value(
    cost={
        "block": {"honest": -5.0, "fraud": 0.0},
        "pass": {"honest": 1.0, "fraud": -80.0},
    },
    unit="EUR",
)
RULES_ONLY = schedule_from_object(
    {
        "sla_ms": 50,
        "default": {"score": 0.0, "action": "block"},
        "step": [{"accept": ["rules"]}],
    },
    "rules-only",
)


def fraud(number, chance):
    """Return answers: gbm knows, logit is noisy, rules let everything pass."""
    is_fraud = number % 4 == 0
    good = (0.8 if is_fraud else 0.2) + 0.15 * chance.random()
    poor = (0.6 if is_fraud else 0.4) + 0.4 * (chance.random() - 0.5)
    return (
        {"score": good, "action": "block" if good > 0.5 else "pass"},
        {"score": poor, "action": "block" if poor > 0.5 else "pass"},
        {"score": 0.1, "action": "pass"},
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Write 600 requests of 200 keys whose outcomes are fraud and honest."""
    directory = tmp_path_factory.mktemp("measure") / "fraud"
    log = scored(600, fraud)
    for request in log.requests:
        request.key = f"customer-{request.number // 3}"
    log.write(directory)
    record_outcomes(directory, [(n, "fraud" if n % 4 == 0 else "honest") for n in range(600)])
    (directory / "schedules").mkdir()
    (directory / "schedules" / "production.toml").write_text(
        'sla_ms = 50\ndefault = { score = 0.0, action = "review" }\n'
        '[[step]]\nuntil_ms = 30\naccept = ["gbm"]\n[[step]]\naccept = ["gbm", "logit", "rules"]\n'
    )
    (directory / "rdv.toml").write_text(
        '[outcome]\npositive = "fraud"\nmeans = { block = "fraud", pass = "honest" }\n'
        '[value]\nunit = "EUR"\n[value.cost]\nblock = { honest = -5.0, fraud = 0.0 }\n'
        "pass = { honest = 1.0, fraud = -80.0 }\n"
    )
    return directory, log


MEANS = Outcome(positive="fraud", means={"block": "fraud", "pass": "honest"})


def columns(log, model):
    """Return scores and actions of a model as they are recorded."""
    found = [
        json.loads(bytes(score.result))
        for request in log.requests
        for _, score in request.reports
        if score.model == model
    ]
    return np.array([one["score"] for one in found]), [one["action"] for one in found]


def worth(actions, numbers):
    return [
        COST.cost[a]["fraud" if n % 4 == 0 else "honest"]
        for a, n in zip(actions, numbers, strict=True)
    ]


TRUTH = np.array([n % 4 == 0 for n in range(600)], float)


@pytest.mark.parametrize("name", ["roc-auc", "pr-auc", "brier", "log-loss", "recall@fpr=0.05"])
def test_compare_measures_scores_although_actions_are_judged(made, name):
    directory, log = made
    with Recorded(str(directory)) as recorded:
        found = compare(recorded, "gbm", "logit", outcome=MEANS, metric=name)
    metric = metric_named(name)
    for side, model in ((found.metric.first, "gbm"), (found.metric.second, "logit")):
        assert side.estimate == pytest.approx(metric.of(columns(log, model)[0], TRUTH))
    assert (found.metric.requests, found.metric.keys) == (600, 200)
    assert (
        metric.title in " ".join(found.sentences()) or metric.title in found.sentences()[1].lower()
    )
    # Actions are still judged, by what they mean.
    assert found.accuracy.share_first == 1.0


def test_the_positive_class_of_f1_is_the_declared_one(made):
    directory, log = made
    with Recorded(str(directory)) as recorded:
        found = compare(recorded, "gbm", "logit", outcome=MEANS, metric="f1")
    says = np.array([action == "block" for action in columns(log, "logit")[1]], float)
    assert found.metric.second.estimate == pytest.approx(metric_named("f1").of(says, TRUTH))


def test_value_by_a_table(made):
    directory, log = made
    with Recorded(str(directory)) as recorded:
        found = compare(recorded, "gbm", "logit", outcome=MEANS, metric="value", value=COST)
    gbm, logit = (np.mean(worth(columns(log, m)[1], range(600))) for m in ("gbm", "logit"))
    assert found.metric.first.estimate == pytest.approx(gbm)
    assert found.metric.difference.estimate == pytest.approx(gbm - logit)
    # 600 requests in 5.99 s: as many a day as fit.
    per_day = 599 / 5.99 * 86_400
    assert found.metric.per_day == pytest.approx(per_day, rel=1e-3)
    day = found.metric.as_json()["per_day"]
    assert day["value"] == pytest.approx((gbm - logit) * per_day, rel=1e-3)
    assert day["low"] < day["value"] < day["high"]
    sentence = found.metric.sentence()
    assert "EUR more per day (95 %:" in sentence
    assert "gbm is better" in sentence


def test_an_entry_that_is_missing_is_named(made):
    directory, _ = made
    table = Value(cost={"block": {"fraud": 0.0}, "pass": {"honest": 1.0, "fraud": -80.0}})
    with Recorded(str(directory)) as recorded:
        found = compare(recorded, "gbm", "logit", outcome=MEANS, metric="value", value=table)
        assert found.metric.first is None
        assert "no entry for the action block with the outcome honest" in found.metric.problem
        other = Value(cost={"decline": {"fraud": 0.0}})
        found = compare(recorded, "gbm", "logit", outcome=MEANS, metric="value", value=other)
        assert "answers say block, pass" in found.metric.problem
        found = compare(recorded, "gbm", "logit", outcome=MEANS, metric="value")
        assert "is not declared" in found.metric.problem


FUNCTION = """
import os
COST = {"block": {"honest": -5.0, "fraud": 0.0}, "pass": {"honest": 1.0, "fraud": -80.0}}

def value(data, answer, outcome):
    with open(os.path.join(os.path.dirname(__file__), "calls"), "a") as file:
        file.write(f"{data['n']} {answer['action']} {answer['score']} {outcome} {os.getpid()}\\n")
    return COST[answer["action"]][outcome]

def broken(data, answer, outcome):
    return {}["amount"]

def nothing(data, answer, outcome):
    return None
"""


def test_value_by_a_function_in_a_process_of_its_own(made, tmp_path):
    directory, log = made
    (directory / "value.py").write_text(FUNCTION)
    calls = directory / "calls"
    calls.unlink(missing_ok=True)
    with Recorded(str(directory)) as recorded:
        own = Value(function="value.py:value")
        found = what_if(recorded, RULES_ONLY, outcome=MEANS, metric="value", value=own)
    new, was = (np.mean(worth(columns(log, m)[1], range(600))) for m in ("rules", "gbm"))
    assert found.metric.first.estimate == pytest.approx(new)
    assert found.metric.second.estimate == pytest.approx(was)
    lines = [line.split() for line in calls.read_text().splitlines()]
    assert len({line[-1] for line in lines}) == 1
    # Each of 600 requests has two different answers, and none is evaluated twice.
    assert len(lines) == len(set(map(tuple, lines))) == 1200


def test_a_function_gets_the_variables_that_env_names(made, tmp_path, monkeypatch):
    directory, _ = made
    (directory / "value.py").write_text(
        "import os\n\ndef value(data, answer, outcome):\n"
        "    return float(os.environ.get('RATE', 0)) + float('SECRET' in os.environ)\n"
    )
    monkeypatch.setenv("RATE", "3")
    monkeypatch.setenv("SECRET", "x")
    settings = directory / "rdv.toml"
    before = settings.read_text()
    for text, expected in (("", 0.0), ('env = ["RATE"]\n', 3.0)):
        settings.write_text(text)
        with Recorded(str(directory)) as recorded:
            own = Value(function="value.py:value")
            found = what_if(recorded, RULES_ONLY, outcome=MEANS, metric="value", value=own)
        assert found.metric.first.estimate == expected
    settings.write_text(before)


def test_a_function_that_fails_is_named(made):
    directory, _ = made
    (directory / "value.py").write_text(FUNCTION)
    with Recorded(str(directory)) as recorded:
        for name, reason in (("broken", "KeyError"), ("nothing", "its result is None")):
            own = Value(function=f"value.py:{name}")
            found = what_if(recorded, RULES_ONLY, outcome=MEANS, metric="value", value=own)
            assert reason in found.metric.problem
            assert f"value.py:{name} fails" in found.metric.problem
            assert found.metric.first is None
        own = Value(function="value.py:missing")
        with pytest.raises(ModelNotLoaded, match="no function missing"):
            what_if(recorded, RULES_ONLY, outcome=MEANS, metric="value", value=own)


def test_numbers_have_an_error(tmp_path):
    def answers(number, chance):
        return number + chance.random(), number + 3 * chance.random(), 0.5

    log = scored(300, answers)
    log.write(tmp_path)
    record_outcomes(tmp_path, [(n, float(n)) for n in range(300)])
    with Recorded(str(tmp_path)) as recorded:
        found = compare(recorded, "gbm", "logit")
        assert found.metric.metric.name == "mae"
        assert found.metric.is_better is True
        assert "mean absolute error on 300" in " ".join(found.sentences()).lower()
        found = compare(recorded, "gbm", "logit", metric="pinball@0.9")
        assert found.metric.first.estimate < found.metric.second.estimate
        found = what_if(recorded, RULES_ONLY, metric="rmse")
        assert found.metric.first.estimate > 100


def test_lists_are_ranked(tmp_path):
    def answers(number, chance):
        best = [f"i{(number + k) % 20}" for k in range(5)]
        return {"items": best}, {"items": best[::-1]}, {"items": []}

    log = scored(200, answers)
    log.write(tmp_path)
    record_outcomes(tmp_path, [(n, f"i{n % 20}") for n in range(200)])
    with Recorded(str(tmp_path)) as recorded:
        found = compare(recorded, "gbm", "logit", metric="ndcg@5")
        assert found.metric.first.estimate == 1.0
        assert found.metric.second.estimate == pytest.approx(1 / math.log2(6))
        found = compare(recorded, "gbm", "rules", metric="hit-rate@1")
        assert (found.metric.first.estimate, found.metric.second.estimate) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("answers", "truths", "name", "said"),
    [
        (["a", "b"], ["a", "b"], "roc-auc", "no answer has one"),
        ([{"score": 0.2}], ["good", "bad"], "roc-auc", "declare positive"),
        ([{"score": 0.2}], ["good", "bad"], "mae", "outcomes say bad, good"),
        ([0.5, 0.7], [1.5, 2.5, 3.5], "accuracy", "the outcomes are numbers"),
        (["a"], ["a", "b"], "ndcg@3", "a ranking needs a list"),
        (["a", "b"], ["a", "b", "c"], "f1", "declare positive"),
    ],
)  # fmt: skip
def test_a_metric_that_does_not_fit_says_why(answers, truths, name, said):
    assert said in measure_for(answers, truths, name=name).problem


def test_a_wrong_name_is_refused_and_the_names_are_those_of_the_metrics(made):
    assert (
        ", ".join({"calibration": "calibration"}.get(name, name) for name in metric_names())
        == METRICS
    )
    with Recorded(str(made[0])) as recorded, pytest.raises(UnknownMetric):
        choose_measure(recorded, metric="roc")


def test_models_that_lack_the_judged_field_are_named_not_wrong(tmp_path):
    def answers(number, chance):
        right = "block" if number % 2 else "pass"
        return {"action": right}, {"score": 0.5}, {"action": right}

    log = scored(200, answers)
    log.write(tmp_path)
    record_outcomes(tmp_path, [(n, "block" if n % 2 else "pass") for n in range(200)])
    schedule = schedule_from_object(
        {"sla_ms": 50, "default": {"action": "pass"}, "step": [{"accept": ["logit"]}]}, "logit"
    )
    with Recorded(str(tmp_path)) as recorded:
        found = what_if(recorded, schedule)
    assert found.new.accuracy is None
    assert "logit never answers with what is judged" in " ".join(found.caveats())


@pytest.mark.parametrize("limit", [3, 10, 1000])
def test_what_is_kept_is_every_kth_row(limit):
    chance, kept, start = random.Random(limit), Kept(limit), 0
    for _ in range(40):
        size = chance.randrange(0, 9)
        kept.add(np.arange(start, start + size), -np.arange(start, start + size))
        start += size
    first, second = kept.columns()
    assert kept.count == start
    assert first.tolist() == list(range(0, start, kept.stride))
    assert (second == -first).all()
    assert len(first) <= limit


@pytest.fixture
def run(capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return (code, *capfd.readouterr())

    return call


def test_the_commands_speak_in_the_metric(made, run):
    directory, log = made
    gbm = np.mean(worth(columns(log, "gbm")[1], range(600)))
    logit = np.mean(worth(columns(log, "logit")[1], range(600)))
    code, out, _ = run("compare", directory, "gbm", "logit", "--metric", "value", "--json")
    found = json.loads(out)["metric"]
    assert code == 0
    assert found["gbm"]["value"] == pytest.approx(gbm)
    assert found["difference"]["value"] == pytest.approx(gbm - logit)
    code, out, _ = run("compare", directory, "gbm", "logit", "--metric", "roc-auc")
    assert "ROC AUC on 600 requests" in out
    assert "nan" not in out
    schedule = directory / "schedules" / "rules.toml"
    schedule.write_text(
        'sla_ms = 50\ndefault = { action = "pass" }\n[[step]]\naccept = ["rules"]\n'
    )
    code, out, _ = run("whatif", directory, "--schedule", schedule, "--metric", "value")
    assert code == 0
    assert "EUR less per day" in out
    code, _, err = run("compare", directory, "gbm", "logit", "--metric", "rocauc")
    assert code == 3
    assert "there is no metric 'rocauc'" in err


def test_a_few_keys_have_no_interval(tmp_path):
    log = scored(200, fraud)
    for request in log.requests:
        request.key = f"customer-{request.number % 4}"
    log.write(tmp_path)
    record_outcomes(tmp_path, [(n, "fraud" if n % 4 == 0 else "honest") for n in range(200)])
    with Recorded(str(tmp_path)) as recorded:
        found = what_if(recorded, RULES_ONLY, outcome=MEANS)
    assert "only 4 keys" in " ".join(found.sentences())
    assert found.as_json()["accuracy_gain"]["low"] is None


def test_the_gate_judges_by_the_declared_value(made):
    """logit is worth less than gbm: the gate fails, and says so in EUR."""
    directory, _ = made
    limits = Gate(requests_min=100, looks=1)
    declared = msgspec.structs.replace(MEANS, metric="value")
    with Recorded(str(directory)) as recorded:
        compared = compare_newest(recorded, "gbm", "logit", outcome=declared, value=COST)
    found = judge(figures_of(compared, limits), limits)
    quality = next(check for check in found.checks if check.name == "quality")
    assert quality.verdict == "fail"
    assert "mean value on 600 known outcomes" in quality.text
    assert "EUR" in quality.text


def test_f1_in_the_gate_is_of_the_declared_positive_class(made):
    directory, log = made
    limits = Gate(metric="f1", looks=1)
    with Recorded(str(directory)) as recorded:
        compared = compare_newest(recorded, "gbm", "logit", outcome=MEANS, metric="f1", canary=None)
    quality, _ = quality_of(compared.found.judged, limits, compared.found.points)
    says = np.array([action == "block" for action in columns(log, "logit")[1]], float)
    assert quality.challenger == metric_named("f1").text(metric_named("f1").of(says, TRUTH))


def test_f1_without_its_positive_class_says_so(tmp_path):
    """The positive class is declared, and never occurs: no other one takes its place."""
    log = scored(200, lambda n, chance: ({"action": "a"}, {"action": "b" if n % 2 else "a"}, None))
    log.write(tmp_path)
    record_outcomes(tmp_path, [(n, "b" if n % 3 else "a") for n in range(200)])
    declared = Outcome(type="class", positive="fraud", answer="action")
    with Recorded(str(tmp_path)) as recorded:
        found = compare(recorded, "gbm", "logit", outcome=declared, metric="f1")
    assert found.metric.first is None
    assert found.metric.problem
