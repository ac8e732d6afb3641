"""What each model is worth is what the engine would lose without it, and advice is only sure."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import orjson
import pytest
from fake_clock import FakeClock
from hypothesis import given
from hypothesis import strategies as st
from made_log import BEGIN_NS, MODELS, PRODUCTION, MadeLog, MadeRequest, make_requests, make_score

from rdv.__main__ import main
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.measure.sides import Measured, Unmeasured
from rdv.analysis.statistics import Interval
from rdv.analysis.worth.advice import Facts, advise
from rdv.analysis.worth.study import worth
from rdv.analysis.worth.without import without_model
from rdv.rendezvous.schedule import schedule_from_object
from rdv.stream import open_stream


def study(directory, schedule=PRODUCTION, **options):
    with Recorded(str(directory)) as recorded:
        found = worth(recorded, schedule, **options)
    return found, {one.name: one for one in found.models}


def tell(directory, truths):
    with (
        open_stream(str(directory / "outcomes"), clock=FakeClock(BEGIN_NS)) as stream,
        stream.producer() as producer,
    ):
        for id_, truth in truths.items():
            line = {"id": id_, "outcome": truth, "time_ns": BEGIN_NS}
            producer.send("outcomes", orjson.dumps(line) + b"\n", partition=0)


@pytest.mark.parametrize("name", MODELS)
def test_defaults_without_a_model_are_those_of_the_engine_without_it(tmp_path, name):
    log = MadeLog(make_requests(500))
    log.write(tmp_path)
    again = MadeLog(make_requests(500))
    for made in again.requests:
        made.reports = [report for report in made.reports if report[1].model != name]
        made.not_asked = (name,)  # the engine then does not wait for it
    again.decide()
    before = sum(result.kind == "default" for result in log.results.values())
    after = sum(result.kind == "default" for result in again.results.values())
    found, models = study(tmp_path)
    assert models[name].facts.defaults_without.value == pytest.approx((after - before) / 500)
    assert models[name].answered == sum(r.model == name for r in log.results.values())
    assert models[name].rescued == sum(
        r.model == name and r.kind == "fallback" for r in log.results.values()
    )
    assert found.champion == "gbm"
    assert models["gbm"].advice is None


def worlds(tmp_path, count=3000):
    """A champion right in 90 %; `twin` answers as it does, late; `noise` by chance, late.

    `rescuer` is quick, and the champion is silent for a tenth of the requests.
    """
    chance = np.random.default_rng(5)
    requests, truths = [], {}
    for n in range(count):
        truth = int(chance.random() < 0.5)
        good = truth if chance.random() < 0.9 else 1 - truth
        other = truth if chance.random() < 0.9 else 1 - truth
        reports = [
            (40.0, "noise", int(chance.random() < 0.5), 3.0, 1),
            (45.0, "twin", other, 8.0, 2),
            (6.0, "rescuer", truth if chance.random() < 0.8 else 1 - truth, 1.0, 4),
        ]
        if n % 10:
            reports.append((5.0, "champion", good, 2.0, 1))
        made = MadeRequest(n, 3.0 * n, [])
        for at_ms, model, says, took_ms, size in reports:
            score = make_score(made.id, model, result=msgspec.Raw(b'{"label":%d}' % says))
            score = msgspec.structs.replace(score, evaluation_ms=took_ms, batch_size=size)
            made.reports.append((at_ms, score))
        made.key = f"key-{n % 700}"
        requests.append(made)
        truths[made.id] = truth
    plan = {
        "sla_ms": 50,
        "default": {"label": 0},
        "step": [{"until_ms": 20, "accept": ["champion"]}, {"accept": ["champion", "rescuer"]}],
    }
    schedule = schedule_from_object(plan, "production")
    MadeLog(requests, schedules={"production": schedule}).write(tmp_path)
    return schedule, truths


def test_advice_is_what_the_world_is(tmp_path):
    schedule, truths = worlds(tmp_path)
    found, models = study(tmp_path, schedule)
    assert {one.advice.action for one in found.models if one.advice} == {"keep", "none"}
    assert models["rescuer"].advice.action == "keep"
    assert "nothing can be said about quality" in " ".join(found.caveats())
    tell(tmp_path, truths)
    found, models = study(tmp_path, schedule)
    assert models["noise"].advice.action == "retire"
    assert models["twin"].advice.action == "sample"
    assert models["twin"].advice.sample == 0.5
    assert "sample twin at 50 %" in models["twin"].advice.text
    assert models["rescuer"].rescued == 300
    assert models["rescuer"].facts.defaults_without.value == pytest.approx(0.1)
    # Of those that both answered, and where the champion is wrong: those of 90 % are right.
    right = models["twin"].right_where_wrong
    assert 0.85 < right.value < 0.95
    assert right.interval.low < 0.9 < right.interval.high
    assert models["twin"].judged == 2700
    assert 220 < models["twin"].wrong < 320


def test_a_model_that_may_answer_is_not_retired_for_what_it_did_not_do(tmp_path):
    """With "*" it could rescue another request: some hundred keys cannot rule that out."""
    schedule, truths = worlds(tmp_path)
    tell(tmp_path, truths)
    steps = msgspec.to_builtins(schedule)["step"]
    steps[-1]["accept"].append("*")
    plan = {"sla_ms": 50, "default": {"label": 0}, "step": steps}
    _, models = study(tmp_path, schedule_from_object(plan, "production"))
    assert models["noise"].advice.action == "none"
    assert "unsure" in models["noise"].advice.text
    assert models["noise"].facts.defaults_without.interval.high > 0.001
    assert models["noise"].facts.gain_of_mix.interval.high > 0.001


def test_time_is_that_of_the_batch_over_its_size(tmp_path):
    schedule, _ = worlds(tmp_path, 200)
    found, models = study(tmp_path, schedule)
    took = {name: one.used.per_request_ms for name, one in models.items()}
    assert took == {"noise": 3.0, "twin": 4.0, "rescuer": 0.25, "champion": 2.0}
    assert found.cores(models["noise"]) == pytest.approx(3.0 * 200 / 1000 / found.seconds)


def a_model(low, high, gain=(0.0, 0.0), beside=(-0.1, 0.1), judged=30_000):
    def span(ends):
        if ends is None:
            return Unmeasured("no outcome is known")
        return Measured(sum(ends) / 2, Interval(sum(ends) / 2, *ends, 0.95, "made"))

    return Facts("m", span((low, high)), span(gain), span(beside), 0.9, judged)


def test_advice_needs_intervals():
    assert advise(a_model(0.01, 0.02)).action == "keep"
    assert advise(a_model(0, 0, gain=(0.001, 0.01))).action == "keep"
    assert advise(a_model(0, 0, beside=(0.001, 0.01))).action == "try to promote"
    assert advise(a_model(0, 0, beside=(-0.1, -0.01))).action == "retire"
    assert advise(a_model(0, 0)).sample == 0.05
    assert advise(a_model(0, 0, judged=1_500)).action == "none"
    assert advise(a_model(0, 0, gain=None)).action == "none"
    assert advise(a_model(0, 0, beside=None)).action == "none"
    assert advise(a_model(0, 0, gain=(-0.01, 0.01), beside=(-0.1, -0.01))).action == "none"
    assert advise(a_model(0, 0.01, beside=(-0.1, -0.01))).action == "none"


@given(
    defaults=st.tuples(st.floats(-0.1, 0.1), st.floats(0, 0.1)),
    gain=st.none() | st.tuples(st.floats(-0.1, 0.1), st.floats(0, 0.1)),
    beside=st.none() | st.tuples(st.floats(-0.5, 0.5), st.floats(0, 0.5)),
    judged=st.integers(0, 100_000),
)
def test_no_model_is_retired_that_may_be_needed(defaults, gain, beside, judged):
    ends = [None if one is None else (one[0], one[0] + one[1]) for one in (defaults, gain, beside)]
    found = advise(a_model(*ends[0], ends[1], ends[2], judged))
    if found.action in ("retire", "sample"):
        assert ends[0][1] <= 0.001
        assert ends[1] is not None
        assert ends[1][1] <= 0.001
        assert ends[2] is not None
    if found.action == "retire":
        assert ends[2][1] < 0
    if found.action == "sample":
        assert found.sample * judged >= 1000


def test_a_step_of_one_model_goes_with_it():
    found = without_model(PRODUCTION, "gbm")
    assert [step.accept for step in found.steps] == [["logit"], ["*"]]
    only = schedule_from_object({"sla_ms": 20, "default": 0, "step": [{"accept": ["a"]}]}, "n")
    assert without_model(only, "a") == only
    last = {
        "sla_ms": 20,
        "default": 0,
        "step": [{"until_ms": 9, "accept": ["a", "b"], "need": 2}, {"accept": ["b"]}],
    }
    found = without_model(schedule_from_object(last, "n"), "b")
    assert [(s.accept, s.need, s.until_ms) for s in found.steps] == [(["a"], 1, None)]


def test_the_command(tmp_path, capfd):
    schedule, truths = worlds(tmp_path, 400)
    tell(tmp_path, truths)
    (tmp_path / "rdv.toml").write_text('name = "fraud"\n')
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "production.toml").write_text(
        "sla_ms = 50\ndefault = { label = 0 }\n[[step]]\nuntil_ms = 20\naccept = ['champion']\n"
        "[[step]]\naccept = ['champion', 'rescuer']\n"
    )
    assert main(["model", "worth", str(tmp_path)]) == 0
    out, err = capfd.readouterr()
    assert "champion (champion)" in out
    assert "keep rescuer: without it" in out
    assert "how long the evaluation of a batch took" in err
    assert main(["model", "worth", str(tmp_path), "--json"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {row["model"] for row in rows} == {"champion", "rescuer", "noise", "twin"}
    assert "NaN" not in json.dumps(rows)
    assert schedule.name == "production"
