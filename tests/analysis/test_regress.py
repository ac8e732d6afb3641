"""An edited schedule is held against recorded traffic, and limits that it breaks are named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from xml.etree import ElementTree as ET

import msgspec
import orjson
import pytest
from fake_clock import FakeClock
from made_log import BEGIN_NS, PRODUCTION, MadeLog, MadeRequest, make_requests, make_score

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.measure import ROBUST, choose_measure
from rdv.analysis.regress.limits import Limits
from rdv.analysis.regress.report import junit, markdown
from rdv.analysis.regress.study import regress
from rdv.decision.outcome import INFERRED, Outcome
from rdv.decision.value import UNDECLARED, Value
from rdv.rendezvous.schedule import schedule_from_object
from rdv.stream import open_stream

ANY = {"accept": ["*"]}
EAGER = schedule_from_object(
    {
        "sla_ms": 50,
        "default": {"score": 0.0, "action": "review"},
        "step": [{"until_ms": 5, "accept": ["rules"]}, {"accept": ["logit", "*", "gbm"]}],
    },
    "production",
)
OTHER_DEFAULT = schedule_from_object(
    {
        **{k: v for k, v in msgspec.to_builtins(PRODUCTION).items() if k in ("sla_ms", "step")},
        "default": {"score": 0.0, "action": "review", "reason": "busy"},
    },
    "production",
)
ALL = Limits(changed_max=0.01, p99_ms_max=50, loss_max=0.0)


def study(
    directory, schedule, limits=ALL, *, outcome=INFERRED, metric="", value=UNDECLARED, **options
):
    with (
        Recorded(str(directory)) as recorded,
        choose_measure(recorded, outcome, None, metric, value, ROBUST) as measure,
    ):
        return regress(recorded, schedule, limits, measure=measure, **options)


def tell(directory, log, count=None):
    """Record outcomes: gbm and logit are always right, rules never says block."""
    with (
        open_stream(str(directory / "outcomes"), clock=FakeClock(BEGIN_NS)) as stream,
        stream.producer() as producer,
    ):
        for made in log.requests[:count]:
            truth = "block" if made.number % 3 == 0 else "pass"
            line = {"id": made.id, "outcome": truth, "time_ns": BEGIN_NS}
            producer.send("outcomes", orjson.dumps(line) + b"\n", partition=0)


@pytest.fixture
def told(tmp_path):
    log = MadeLog(make_requests(600))
    log.write(tmp_path)
    tell(tmp_path, log)
    return tmp_path, log


def verdicts(found):
    return {check.name: check.verdict for check in found.checks}


def test_the_same_schedule_holds_every_limit(told):
    directory, _ = told
    found = study(directory, PRODUCTION)
    assert set(verdicts(found).values()) == {"held"}
    assert found.figures.changed == 0
    assert found.worst == ()


def test_a_worse_schedule_breaks_the_limits_and_its_worst_requests_are_shown(told):
    directory, log = told
    found = study(directory, EAGER)
    assert verdicts(found)["changed answers"] == "broken"
    assert verdicts(found)["quality"] == "broken"
    assert len(found.worst) == 10
    by_id = {made.id: made for made in log.requests}
    for one in found.worst:
        # Those that were right and are wrong now: rules says pass where block is true.
        assert by_id[one.id].number % 3 == 0
        assert (one.was_model, one.model) in (("gbm", "rules"), ("logit", "rules"))
        assert {one.was_answer, one.truth} == {'"block"'}
        assert one.answer == '"pass"'
    assert found.figures.loss.value > 0.1
    assert found.figures.loss.interval.low > 0


def test_the_changed_answers_are_counted_as_the_engine_would_decide(told):
    directory, log = told
    again = MadeLog(make_requests(600))
    again.schedules["production"] = EAGER
    again.decide()
    changed = sum(
        json.loads(bytes(result.result))["action"]
        != json.loads(bytes(again.results[id_].result))["action"]
        for id_, result in log.results.items()
    )
    found = study(directory, EAGER)
    assert found.figures.changed == changed > 0
    assert found.figures.requests == 600


def test_no_known_outcome_fails_a_limit_on_quality_and_nothing_else(tmp_path):
    MadeLog(make_requests(300)).write(tmp_path)
    found = study(tmp_path, EAGER, Limits(p99_ms_max=50, loss_max=1.0))
    assert verdicts(found) == {"p99": "held", "quality": "cannot be judged"}
    assert "no outcome of these requests is known" in "".join(found.broken())
    assert study(tmp_path, EAGER, Limits(p99_ms_max=50)).is_held


def test_few_outcomes_are_no_judgement(told):
    directory, log = told
    shutil.rmtree(directory / "outcomes")
    tell(directory, log, 15)
    found = study(directory, EAGER, Limits(loss_max=0.9))
    assert verdicts(found) == {"quality": "cannot be judged"}
    assert "an interval needs" in found.checks[0].text


def test_a_metric_that_answers_cannot_have_is_named(told):
    directory, _ = told
    found = study(directory, EAGER, Limits(loss_max=0.5), metric="roc-auc")
    assert verdicts(found) == {"quality": "cannot be judged"}
    assert "declare positive in [outcome]" in found.checks[0].text


def test_the_business_own_value_is_judged(told):
    """A blocked payment that was to be blocked is worth 1; one that passes costs 10."""
    directory, _ = told
    cost = {"block": {"block": 1.0, "pass": -1.0}, "pass": {"block": -10.0, "pass": 0.0}}
    cost["review"] = {"block": 0.0, "pass": 0.0}
    value = Value(cost=cost, unit="EUR")
    found = study(directory, EAGER, Limits(loss_max=0.0), metric="value", value=value)
    assert verdicts(found) == {"quality": "broken"}
    assert found.figures.loss.value > 1
    assert study(directory, PRODUCTION, Limits(loss_max=0.0), metric="value", value=value).is_held


def test_a_model_that_did_not_run_cannot_be_judged(told):
    directory, _ = told
    plan = {"sla_ms": 50, "default": 0, "step": [{"until_ms": 40, "accept": ["new", "gbm"]}, ANY]}
    found = study(directory, schedule_from_object(plan, "production"))
    assert set(verdicts(found).values()) == {"cannot be judged"}
    assert all("--model new=FILE" in check.text for check in found.checks)


def test_an_edited_default_is_a_changed_answer(tmp_path):
    """Also if the field by which answers are judged is the same."""
    log = MadeLog(make_requests(600))
    log.write(tmp_path)
    defaults = sum(result.kind == "default" for result in log.results.values())
    found = study(tmp_path, OTHER_DEFAULT)
    assert found.figures.changed == defaults > 0
    assert {one.model for one in found.worst} == {"default"}


def test_a_p99_of_few_requests_is_none(tmp_path):
    MadeLog(make_requests(99)).write(tmp_path)
    found = study(tmp_path, PRODUCTION, Limits(p99_ms_max=1000))
    assert verdicts(found) == {"p99": "cannot be judged"}


def test_numbers_are_judged_by_their_error(tmp_path):
    """A schedule that answers with the model that is off by ten loses ten by the MAE."""
    requests = []
    for n in range(200):
        scores = [(5.0, "good", float(n)), (2.0, "bad", n + 10.0 + n % 2)]
        made = MadeRequest(n, 3.0 * n, [])
        made.reports = [
            (at, make_score(made.id, model, result=msgspec.Raw(orjson.dumps(value))))
            for at, model, value in scores
        ]
        requests.append(made)
    was = schedule_from_object(
        {"sla_ms": 50, "default": 0.5, "step": [{"accept": ["good"]}]}, "production"
    )
    log = MadeLog(requests, schedules={"production": was})
    log.write(tmp_path)
    with (
        open_stream(str(tmp_path / "outcomes"), clock=FakeClock(BEGIN_NS)) as stream,
        stream.producer() as producer,
    ):
        for made in requests:
            line = {"id": made.id, "outcome": float(made.number), "time_ns": BEGIN_NS}
            producer.send("outcomes", orjson.dumps(line) + b"\n", partition=0)
    now = schedule_from_object(
        {"sla_ms": 50, "default": 0.5, "step": [{"accept": ["bad"]}]}, "production"
    )
    number = Outcome(type="number")
    found = study(tmp_path, now, Limits(loss_max=10.4), outcome=number)
    assert verdicts(found) == {"quality": "broken"}
    assert found.figures.loss.value == pytest.approx(10.5)
    assert found.worst[0].answer in {f"{n + 11}" for n in range(1, 200, 2)}
    assert study(tmp_path, now, Limits(loss_max=10.6), outcome=number).is_held


def test_junit_has_a_case_for_each_limit(told):
    directory, _ = told
    suite = ET.fromstring(junit(study(directory, EAGER), "fra\x00ud<&")).find("testsuite")
    cases = {case.get("name"): [part.tag for part in case] for case in suite.iter("testcase")}
    assert cases == {
        "changed answers": ["failure"],
        "p99": ["system-out"],
        "quality": ["failure"],
    }
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "2", "0")


def test_markdown_escapes_what_comes_from_the_log(told):
    directory, _ = told
    found = study(directory, EAGER)
    text = markdown(found, "fraud|<script>@all")
    assert "<script>" not in text
    assert "fraud\\|\\<script\\>\\@all" in text
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in table[:5]} == {4}


def rdv(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "rdv", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        check=False,
    )


@pytest.fixture
def decision(told):
    directory, _ = told
    (directory / "rdv.toml").write_text('name = "fraud"\nschedule = "production"\n')
    (directory / "schedules").mkdir(exist_ok=True)
    return directory


def write_schedule(directory, first):
    text = (
        'sla_ms = 50\ndefault = { score = 0.0, action = "review" }\n'
        f'[[step]]\nuntil_ms = 30\naccept = ["{first}"]\n'
        '[[step]]\nuntil_ms = 45\naccept = ["gbm", "logit"]\n[[step]]\naccept = ["*"]\n'
    )
    (directory / "schedules" / "production.toml").write_text(text)


def test_the_command_judges_the_file_as_it_is_now(decision):
    span = ("--against", "2023-01-01T00:00:00Z", "--max-changed", "1%")
    write_schedule(decision, "gbm")
    fine = rdv("regress", decision, *span, "--value-loss", "0")
    assert fine.returncode == 0, fine.stderr
    write_schedule(decision, "rules")
    broken = rdv("regress", decision, *span, "--value-loss", "0")
    assert broken.returncode == 99
    lines = [json.loads(line) for line in broken.stdout.splitlines()]
    assert lines[0]["summary"]["held"] is False
    assert {line["check"]["name"] for line in lines if "check" in line} == {
        "changed answers",
        "quality",
    }
    assert len([line for line in lines if "request" in line]) == 10
    assert "changed answers (broken)" in broken.stderr
    for style in ("markdown", "junit", "table"):
        assert rdv("regress", decision, *span, "--format", style).returncode == 99


@pytest.mark.parametrize(
    "wrong",
    [
        ("--max-changed", "x"),
        ("--max-changed", "101%"),
        ("--max-changed", "-1%"),
        ("--value-loss", "nan"),
        ("--p99", "40"),
        ("--show", "-1"),
        ("--format", "html"),
    ],
)
def test_wrong_options_are_wrong_usage(decision, wrong):
    write_schedule(decision, "gbm")
    assert rdv("regress", decision, "--against", "2023-01-01", *wrong).returncode == 2


# --- a model file, by replay ------------------------------------------------------------------

SAME_AS_GBM = """
def predict(rows):
    return [{"score": 0.5, "action": "pass" if row["n"] % 3 else "block"} for row in rows]
"""
ALWAYS_PASS = """
def predict(rows):
    return [{"score": 0.5, "action": "pass"} for row in rows]
"""
FAILS = """
def predict(rows):
    raise ValueError("no")
"""


def summary(done):
    return json.loads(done.stdout.splitlines()[0])["summary"]


@pytest.mark.parametrize("name", ["gbm", "new"])
def test_a_replayed_model_answers_in_the_place_of_a_recorded_one_or_as_a_new_one(decision, name):
    write_schedule(decision, name)
    span = ("--against", "2023-01-01T00:00:00Z")
    for code, right in ((SAME_AS_GBM, True), (ALWAYS_PASS, False)):
        (decision / "new.py").write_text(code)
        done = rdv("regress", decision, *span, "--model", f"{name}={decision / 'new.py'}",
                   "--value-loss", "0")  # fmt: skip
        assert done.returncode == (0 if right else 99), done.stderr
        found = summary(done)
        # It answers at once, so that it gives nearly all answers itself.
        assert found["what_if"]["what_if"]["models"][name] > 0.9
        assert found["what_if"]["never_ran"] == []
        assert any("was replayed on 600 requests" in line for line in found["caveats"])
        assert found["quality"]["value"] == pytest.approx(1.0 if right else 0.5, abs=0.05)


def test_a_replayed_model_that_fails_leaves_the_answers_to_the_others(decision):
    write_schedule(decision, "new")
    (decision / "new.py").write_text(FAILS)
    done = rdv("regress", decision, "--against", "2023-01-01T00:00:00Z", "--model",
               f"new={decision / 'new.py'}", "--value-loss", "0.5")  # fmt: skip
    found = summary(done)
    assert "new" not in found["what_if"]["what_if"]["models"]
    models = found["what_if"]["what_if"]["models"]
    assert models["gbm"] + models["logit"] > 0.8
    assert any("600 of them failed" in line for line in found["caveats"])


def test_a_model_that_cannot_be_tried_is_named(decision):
    write_schedule(decision, "gbm")
    (decision / "new.py").write_text(SAME_AS_GBM)
    file = decision / "new.py"
    for given, code, said in (
        ("new", 2, "is not NAME=FILE"),
        ("=x.py", 2, "is not NAME=FILE"),
        ("new=none.py", 3, "none.py"),
    ):
        done = rdv("regress", decision, "--model", given)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    only = 'sla_ms = 50\ndefault = 0\n[[step]]\naccept = ["gbm"]\n'
    (decision / "schedules" / "only.toml").write_text(only)
    done = rdv("regress", decision, "--schedule", "only", "--model", f"new={file}")
    assert done.returncode == 3
    assert "does not accept new" in done.stderr
    mixed = (
        'sla_ms = 50\ndefault = 0\n[[step]]\naccept = ["gbm", "new"]\nneed = 2\ncombine="mean"\n'
    )
    (decision / "schedules" / "mixed.toml").write_text(mixed)
    done = rdv("regress", decision, "--schedule", "mixed", "--model", f"new={file}")
    assert done.returncode == 3
    assert "combined with others" in done.stderr
