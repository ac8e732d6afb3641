"""Where the answer given causes the outcome (a click on what was shown), equal answers tell."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import orjson
import pytest
from fake_clock import FakeClock
from made_log import BEGIN_NS, MadeLog, MadeRequest, make_score

import rdv
from rdv.__main__ import main
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import CAUSED, Reading
from rdv.analysis.dataset.values import Extract, Texts
from rdv.analysis.exploration.caused import Drawn, caused_estimates, same_answers
from rdv.analysis.exploration.study import explored, of_model, of_schedule
from rdv.analysis.measure import choose_measure
from rdv.analysis.measure.measure import RowMeasure
from rdv.analysis.metrics import metric_named
from rdv.analysis.statistics import Interval
from rdv.decision import load_decision
from rdv.decision.outcome import Outcome
from rdv.decision.schedules import lint_settings
from rdv.decision.value import Value
from rdv.rendezvous.schedule import schedule_from_object
from rdv.rendezvous.schedule.cohort import Cohorts
from rdv.stream import open_stream

COUNT = 4_000
EXPLORE = 0.3
COHORTS = Cohorts("s", {"open": 1.0}, {"open": "open"}, {"open": EXPLORE})
RATES = {"a": (0.3, 0.1), "b": (0.05, 0.4)}
"""How often each answer is clicked, by the request's context."""
COST = Value(cost={"a": {"0": 0.0, "1": 1.0}, "b": {"0": 0.0, "1": 2.0}})
DECLARED = Outcome(caused_by_answer=True)


# By arrays: many runs with known rates


def a_run(chance, keys=400):
    """Return what is recorded of requests whose clicks depend on the answer, and the true means.

    In context 0 both schedules answer the same, in 1 and 2 they differ, in 3 the new policy gives
    an answer that neither gives. Clicks are known more often of some answers than of others.
    """
    place = np.repeat(np.arange(keys), chance.geometric(0.25, keys))
    effect = chance.uniform(-0.04, 0.04, keys)[place]
    count = len(place)
    context = chance.integers(0, 4, count)
    live, cohort = np.array([0, 0, 1, 1])[context], np.array([0, 1, 2, 2])[context]
    new = np.array([0, 1, 2, 3])[context]
    is_drawn = chance.random(count) < 0.2
    given, other = np.where(is_drawn, cohort, live), np.where(is_drawn, live, cohort)
    rates = np.array([[0.3, 0.2, 0.1, 0.5], [0.1, 0.6, 0.2, 0.5], [0.2, 0.3, 0.7, 0.5],
                      [0.2, 0.3, 0.1, 0.5]])  # fmt: skip
    clicks = (chance.random(count) < rates[context, given] + effect).astype(float)
    is_known = chance.random(count) < np.array([0.9, 0.6, 0.8, 1.0])[given]
    truths = np.where(is_known, clicks, np.nan)
    policies = new.astype(float), live.astype(float)
    points = tuple(np.where(one == given, truths, np.nan) for one in policies)
    drawn = Drawn(
        given.astype(float),
        other.astype(float),
        np.where(is_drawn, 0.2, 0.8),
        truths,
        points,
        policies,
        place.astype(np.uint64),
    )
    true = (0.3 + 0.6 + 0.7) / 3, (0.3 + 0.1 + 0.3) / 3  # of the contexts 0, 1 and 2
    return drawn, true


def test_estimates_are_right_on_average_and_their_intervals_cover_the_truth():
    chance = np.random.default_rng(5)
    measure = RowMeasure(metric_named("value"), Extract(Reading("class")))
    found = []
    for _ in range(300):
        drawn, (new, live) = a_run(chance)
        estimates = caused_estimates(measure, drawn)
        assert 0.7 < estimates.supported < 0.8
        sides = [(one.first, one.second, one.difference) for one in estimates.policies]
        found.append(sides)
    for method in range(2):
        for side, truth in enumerate((new, live, new - live)):
            spans = [run[method][side] for run in found]
            assert all(isinstance(span, Interval) for span in spans)
            means = np.array([span.estimate for span in spans])
            assert abs(means.mean() - truth) < 4 * means.std() / np.sqrt(len(means))
            covered = np.mean([span.covers(truth) for span in spans])
            assert 0.91 <= covered <= 0.99, (method, side, covered)


def test_a_policy_that_answers_as_given_is_the_weighted_mean_of_its_own_outcomes():
    """By hand: both schedules answer 1 in the first two requests, and differ in the others."""
    given, other = np.array([1.0, 1, 1, 2, 2]), np.array([1.0, 1, 2, 1, 1])
    propensity = np.array([0.2, 0.8, 0.8, 0.2, 0.2])
    truths = np.array([0.0, 1, 1, 0, 1])
    ones, twos = np.ones(5), np.full(5, 2.0)
    points = tuple(np.where(one == given, truths, np.nan) for one in (ones, twos))
    drawn = Drawn(given, other, propensity, truths, points, (ones, twos), np.arange(5, dtype="u8"))
    measure = RowMeasure(metric_named("value"), Extract(Reading("class")))
    found = caused_estimates(measure, drawn)
    assert found.supported == pytest.approx(3 / 5)  # 2 is never given in the first two
    ips = found.policies[0]
    assert ips.first.estimate == pytest.approx(1.0)  # of the third alone
    assert ips.second.estimate == pytest.approx(1 / 2)  # of the last two, of equal weight


def test_without_any_common_chance_nothing_is_said():
    ones, twos = np.ones(40), np.full(40, 2.0)
    drawn = Drawn(
        ones, ones, np.full(40, 0.5), ones, (ones, ones * np.nan), (ones, twos),
        np.arange(40, dtype="u8"),
    )  # fmt: skip
    measure = RowMeasure(metric_named("value"), Extract(Reading("class")))
    found = caused_estimates(measure, drawn)
    assert found.policies == ()
    assert "no randomised request could have got the answers of both" in found.problem


def test_whole_answers_count_by_the_field_that_is_declared():
    texts = Texts(Reading("class"))
    answers = [{"action": "x", "score": 0.1}, {"action": "x", "score": 0.2}, {"score": 0.1}]
    values = np.array([*(texts.of_value(one) for one in answers), np.nan])
    whole = same_answers(texts, "")(values)
    assert len(set(whole[:3].tolist())) == 3
    by_action = same_answers(texts, "action")(values)
    assert by_action[0] == by_action[1]
    assert np.isnan(by_action[2:]).all()


# By a log


def schedule(model, name):
    plan = {"sla_ms": 50, "default": {"label": "a"}, "step": [{"accept": [model]}]}
    return schedule_from_object(plan, name)


LIVE, OPEN, NEW = (schedule("old", "production"), schedule("bs", "open"), schedule("new", "new"))


def world(directory, *, explores=True):
    """Show one of two things; return what each model's answers are worth on average."""
    chance = np.random.default_rng(8)
    requests, clicks, worth = [], {}, {"new": [], "old": []}
    for n in range(COUNT):
        context = int(chance.random() < 0.5)
        says = {"old": "a", "new": "ab"[context], "bs": "b"}
        made = MadeRequest(n, 2.0 * n, [])
        made.key = f"key-{n % 1500}"
        if explores:
            made.cohort, made.asked, made.propensity = COHORTS.drawn(made.key, made.id)
        for at_ms, (model, label) in enumerate(says.items(), 2):
            result = msgspec.Raw(orjson.dumps({"label": label}))
            made.reports.append((float(at_ms), make_score(made.id, model, result=result)))
        given = says["bs" if made.cohort else "old"]
        clicks[made.id] = int(chance.random() < RATES[given][context])
        for model, kept in worth.items():
            label = says[model]
            kept.append(RATES[label][context] * COST.cost[label]["1"])
        requests.append(made)
    MadeLog(requests, schedules={one.name: one for one in (OPEN, NEW, LIVE)}).write(directory)
    clock = FakeClock(BEGIN_NS)
    with open_stream(str(directory / "outcomes"), clock=clock) as stream, stream.producer() as out:
        for id_, click in clicks.items():
            line = {"id": id_, "outcome": click, "time_ns": BEGIN_NS}
            out.send("outcomes", orjson.dumps(line) + b"\n", partition=0)
    if explores:
        with open_stream(str(directory / "control")) as stream, stream.producer() as out:
            cohort = {"share": 1.0, "schedule": OPEN.label, "models": [], "explore": EXPLORE}
            line = {"time_ns": 1, "since_ns": 1, "salt": "s", "cohorts": {"open": cohort}}
            out.send("cohorts", orjson.dumps(line) + b"\n", partition=0)
    (directory / "rdv.toml").write_text(
        'name = "ads"\n[models.old]\npath = "m.py"\n[models.new]\npath = "m.py"\n'
        '[outcome]\ncaused_by_answer = true\nmetric = "value"\n'
        "[value.cost]\na = { 0 = 0.0, 1 = 1.0 }\nb = { 0 = 0.0, 1 = 2.0 }\n"
    )
    (directory / "value.py").write_text(
        "def value(data, answer, outcome):\n"
        '    return outcome * {"a": 1.0, "b": 2.0}[answer["label"]]\n'
    )
    (directory / "schedules").mkdir(exist_ok=True)
    for one in (LIVE, OPEN, NEW):
        model = one.steps[0].accept[0]
        text = f'sla_ms = 50\ndefault = {{ label = "a" }}\n[[step]]\naccept = ["{model}"]\n'
        (directory / "schedules" / f"{one.name}.toml").write_text(text)
    return {model: float(np.mean(kept)) for model, kept in worth.items()}


@pytest.fixture(scope="module")
def ads(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ads")
    return directory, world(directory)


SCHEDULES = (("what if", of_schedule(NEW)), ("live", of_schedule(LIVE)))
MODELS = (("new", of_model("new")), ("old", of_model("old")))


def is_near(found, truth):
    """Return whether a value is within four standard errors: it is of one sample only."""
    assert isinstance(found, Interval)
    return abs(found.estimate - truth) < found.high - found.low


def study(directory, policies, outcome=DECLARED, value=COST, metric="value"):
    with Recorded(str(directory)) as recorded:
        return explored(recorded, policies, metric=metric, outcome=outcome, value=value)


@pytest.mark.parametrize("policies", [SCHEDULES, MODELS])
@pytest.mark.parametrize("value", [COST, Value(function="value.py:value")])
def test_the_estimates_are_the_true_values(ads, policies, value):
    directory, worth = ads
    found = study(directory, policies, value=value)
    assert found.problem == ""
    assert len(found.policies) == 2
    for one in found.policies:
        assert is_near(one.first, worth["new"])
        assert is_near(one.second, worth["old"])
        assert is_near(one.difference, worth["new"] - worth["old"])
        assert one.difference.low > 0
    assert found.supported == 1.0


def test_labels_and_clicks_are_not_the_same(ads):
    """Undeclared, each click counts for every answer: the estimate misses by far."""
    directory, worth = ads
    found = study(directory, SCHEDULES, outcome=Outcome())
    assert not found.policies[0].first.covers(worth["new"])


def test_a_metric_that_is_no_mean_is_refused(ads):
    directory, _ = ads
    outcome = Outcome(caused_by_answer=True, positive="a", means={"a": "1", "b": "0"})
    found = study(directory, SCHEDULES, outcome=outcome, metric="balanced-accuracy")
    assert found.policies == ()
    assert "balanced-accuracy is no mean over requests" in found.sentences()[0]


def test_without_exploration_two_policies_cannot_be_compared(tmp_path):
    world(tmp_path, explores=False)
    found = study(tmp_path, SCHEDULES)
    assert found.policies == ()
    (sentence,) = found.sentences()
    assert "what if and live cannot be compared: no cohort explores" in sentence


def test_the_commands_refuse_plain_means_and_show_the_estimates(ads, capfd):
    directory, worth = ads
    for command in (["whatif", "--schedule", "new"], ["compare", "new", "old"]):
        arguments = [command[0], str(directory), *command[1:]]
        assert main(arguments) == 0
        out, _ = capfd.readouterr()
        said = " ".join(out.split())
        assert said.count("The answer given causes the outcome (caused_by_answer), so that") == 1
        assert "right answers on" not in said.lower()
        assert "doubly robust, same answer" in out
        assert main([*arguments, "--json"]) == 0
        found = json.loads(capfd.readouterr().out)
        assert found["metric"]["problem"] == CAUSED
        assert found["metric"]["new" if command[0] == "compare" else "what_if"] is None
        assert found["exploration"]["caused_by_answer"] is True
        estimate = found["exploration"]["estimates"][0]["first"]
        half = (estimate["high"] - estimate["low"]) / 2
        assert abs(estimate["estimate"] - worth["new"]) < 2 * half


def test_the_library_has_what_the_commands_show(ads, capfd):
    directory, _ = ads
    opened = rdv.open(directory)
    for found, command in (
        (opened.whatif("new"), ["whatif", str(directory), "--schedule", "new"]),
        (opened.compare("new", "old"), ["compare", str(directory), "new", "old"]),
    ):
        assert len(found.exploration.policies) == 2
        assert main([*command, "--json"]) == 0
        shown = json.loads(capfd.readouterr().out)
        assert shown["exploration"] == json.loads(json.dumps(found.as_json()["exploration"]))
        report = found._repr_html_()
        assert "Known outcomes by the answer given" in report
        assert "doubly robust, same answer" in report


def test_no_study_holds_other_answers_against_such_outcomes(ads, capfd):
    directory, _ = ads
    for command in (["optimise"], ["model", "worth"]):
        assert main([*command, str(directory)]) in (0, 1)
        out, err = capfd.readouterr()
        assert CAUSED in " ".join((out + err).split()), command
    notes = rdv.open(directory).metrics("model").to_pandas()["note"]
    assert set(notes) == {CAUSED}


@pytest.mark.parametrize("metric", ["accuracy", "brier", "mae", "value", "ndcg@10", "f1"])
@pytest.mark.parametrize("type_", ["auto", "class", "probability", "number", "ranking"])
def test_every_metric_has_the_problem_and_a_study_of_given_answers_has_not(ads, metric, type_):
    directory, _ = ads
    declared = Outcome(caused_by_answer=True, type=type_)
    with Recorded(str(directory)) as recorded:
        with choose_measure(recorded, declared, None, metric, COST) as measure:
            assert measure.problem
        given = declared.of_given_answers()
        with choose_measure(recorded, given, None, metric, COST) as measure:
            assert CAUSED not in measure.problem


@pytest.mark.parametrize(
    ("outcome", "cohorts", "codes"),
    [
        ("caused_by_answer = true", "", ["caused-without-exploration"]),
        ("caused_by_answer = true", "explore = 0.01", []),
        ("caused_by_answer = true", "explore = 1.0", ["caused-without-exploration"]),
        ("caused_by_answer = false", "", []),
    ],
)
def test_the_linter_wants_exploration(tmp_path, outcome, cohorts, codes):
    text = f'[outcome]\n{outcome}\n[cohorts.new]\nshare = 0.1\nschedule = "new"\n{cohorts}\n'
    (tmp_path / "rdv.toml").write_text(text)
    found = list(lint_settings(load_decision(str(tmp_path), {})))
    assert [one.code for one in found] == codes
