"""Where a declined request is never labelled, randomised requests tell how good a schedule is."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import orjson
import pytest
from fake_clock import FakeClock
from made_log import BEGIN_NS, MadeLog, MadeRequest, make_score

from rdv.__main__ import main
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.exploration.study import explored, of_model, of_schedule
from rdv.analysis.statistics import Interval
from rdv.analysis.verify import verify
from rdv.rendezvous.schedule import schedule_from_object
from rdv.rendezvous.schedule.cohort import Cohorts
from rdv.stream import open_stream

COHORTS = Cohorts("s", {"open": 1.0}, {"open": "open"}, {"open": 0.3})
COUNT = 4_000


def schedule(model, name):
    plan = {"sla_ms": 50, "default": {"label": 0}, "step": [{"accept": [model]}]}
    return schedule_from_object(plan, name)


LIVE, OPEN, NEW = (schedule("old", "production"), schedule("yes", "open"), schedule("new", "new"))


def world(directory, *, explores=True):
    """A loan is approved (1) or declined (0); only what was approved is ever repaid or not.

    `old` approves only the safest; `new` approves more, and is right more often. Where the old one
    declines, most would not have repaid. Returns how often the new one and the old one are right.
    """
    chance = np.random.default_rng(3)
    requests, truths, right = [], {}, {"new": [], "old": []}
    for n in range(COUNT):
        risk = chance.random()
        truth = int(chance.random() > risk)
        says = {"old": int(risk < 0.3), "new": int(risk < 0.5), "yes": 1}
        made = MadeRequest(n, 2.0 * n, [])
        made.key = f"key-{n % 1500}"
        made.deadline_ms = 50.0
        if explores:
            found = COHORTS.drawn(made.key, made.id)
            made.cohort, made.asked, made.propensity = found
        for at_ms, (model, label) in enumerate(says.items(), 2):
            score = make_score(made.id, model, result=msgspec.Raw(b'{"label":%d}' % label))
            made.reports.append((float(at_ms), score))
        approved = says["yes" if made.cohort else "old"]
        if approved:
            truths[made.id] = truth
        for model, kept in right.items():
            kept.append(says[model] == truth)
        requests.append(made)
    # The made-up log records each as live; the last one stays so.
    schedules = {one.name: one for one in (OPEN, NEW, LIVE)}
    MadeLog(requests, schedules=schedules).write(directory)
    clock = FakeClock(BEGIN_NS)
    with open_stream(str(directory / "outcomes"), clock=clock) as stream, stream.producer() as out:
        for id_, truth in truths.items():
            line = {"id": id_, "outcome": truth, "time_ns": BEGIN_NS}
            out.send("outcomes", orjson.dumps(line) + b"\n", partition=0)
    if explores:
        with open_stream(str(directory / "control")) as stream, stream.producer() as out:
            cohort = {"share": 1.0, "schedule": OPEN.label, "models": [], "explore": 0.3}
            line = {"time_ns": 1, "since_ns": 1, "salt": "s", "cohorts": {"open": cohort}}
            out.send("cohorts", orjson.dumps(line) + b"\n", partition=0)
    return {model: float(np.mean(kept)) for model, kept in right.items()}


@pytest.fixture(scope="module")
def lending(tmp_path_factory):
    directory = tmp_path_factory.mktemp("lending")
    return directory, world(directory)


def study(directory, policies, **options):
    with Recorded(str(directory)) as recorded:
        return explored(recorded, policies, metric="accuracy", **options)


def test_the_estimates_are_the_truth_where_the_known_outcomes_mislead(lending):
    directory, right = lending
    policies = (("what if", of_schedule(NEW)), ("live", of_schedule(LIVE)))
    found = study(directory, policies)
    assert [one.method for one in found.policies] == ["inverse propensity", "doubly robust"]
    for one in found.policies:
        for side, model in ((one.first, "new"), (one.second, "old")):
            assert isinstance(side, Interval)
            assert side.low < right[model] < side.high
            assert side.high - side.low < 0.15
        gain = right["new"] - right["old"]
        assert one.difference.low < gain < one.difference.high
    # By the known outcomes alone the old one, which declines most, looks far better than it is.
    assert found.is_selective
    assert found.supported == 1.0
    assert found.randomised == COUNT
    assert 0 < found.effective < found.known


def test_models_are_policies_too(lending):
    directory, right = lending
    found = study(directory, (("new", of_model("new")), ("old", of_model("old"))))
    for one in found.policies:
        assert one.first.low < right["new"] < one.first.high
        assert one.second.low < right["old"] < one.second.high


def test_label_coverage_is_that_of_each_answer(lending):
    directory, _ = lending
    found = study(directory, (("new", of_model("new")), ("old", of_model("old"))))
    shares = {one.answer: one.share for one in found.coverage}
    assert shares == {"1": 1.0, "0": 0.0}
    assert sum(one.requests for one in found.coverage) == COUNT


def test_without_exploration_it_is_said_that_nothing_can_be_corrected(tmp_path):
    world(tmp_path, explores=False)
    found = study(tmp_path, (("what if", of_schedule(NEW)), ("live", of_schedule(LIVE))))
    assert found.policies == ()
    assert "no cohort explores" in found.problem
    assert "cannot be corrected" in found.sentences()[0]


def test_the_draws_are_verified(lending):
    directory, _ = lending
    with Recorded(str(directory)) as recorded:
        assert verify(recorded).differing == 0


def test_whatif_and_compare_say_it(lending, capfd):
    directory, _ = lending
    (directory / "rdv.toml").write_text(
        'name = "loans"\n[models.old]\npath = "m.py"\n[models.new]\npath = "m.py"\n'
    )
    (directory / "schedules").mkdir(exist_ok=True)
    for one in (LIVE, OPEN, NEW):
        model = one.steps[0].accept[0]
        text = f'sla_ms = 50\ndefault = {{ label = 0 }}\n[[step]]\naccept = ["{model}"]\n'
        (directory / "schedules" / f"{one.name}.toml").write_text(text)
    for command in (["whatif", "--schedule", "new"], ["compare", "new", "old"]):
        arguments = [command[0], str(directory), *command[1:], "--metric", "accuracy"]
        assert main(arguments) == 0
        out, _ = capfd.readouterr()
        assert "doubly robust" in out
        assert "It depends on the answer whether the outcome is known" in out
        assert main([*arguments, "--json"]) == 0
        exploration = json.loads(capfd.readouterr().out)["exploration"]
        assert exploration["is_selective"] is True
        assert len(exploration["estimates"]) == 2
