"""Check what a model may say about the input, and that only a judge ends a decision with it."""

from __future__ import annotations

import json

import pytest
from echo import echoing

from rdv.__main__ import main

SCHEDULE = """
sla_ms = 20000
input_judges = ["judge"]
default = "none"
[[step]]
until_ms = 15000
accept = ["judge", "careful"]
need = 2
combine = "vote"
[[step]]
accept = ["judge", "careful", "keys", "careless"]
"""
CAREFUL = """
import rdv
version = "1"
def predict(rows):
    for row in rows:
        if row.get("KEY"):
            raise rdv.InputError("KEY is there")
    return [{"by": "NAME"} for _ in rows]
"""
MODELS = {
    "judge": CAREFUL.replace("KEY", "a").replace("NAME", "judge"),
    "careful": CAREFUL.replace("KEY", "b").replace("NAME", "careful"),
    "keys": 'version = "1"\ndef predict(rows):\n    return [row["k"] for row in rows]\n',
    "careless": CAREFUL.replace("KEY", "no").replace("NAME", "careless"),
}


@pytest.fixture(scope="module")
def decision(tmp_path_factory):
    directory = tmp_path_factory.mktemp("judges") / "d"
    more = 'input_errors = ["KeyError"]'
    with echoing(directory, schedule=SCHEDULE, models=MODELS, more=more) as running:
        yield running


def reports(decision, id_):
    lines = [json.loads(line) for _, line in decision.lines("scores")]
    return {line["model"]: line for line in lines if line["id"] == id_}


def test_a_judge_ends_the_decision_with_the_marked_default(decision, capsys):
    status, answer = decision.ask({"data": {"a": 1, "k": 1}})
    assert (status, answer["kind"], answer["code"]) == (200, "default", "bad_input")
    assert answer["result"] == "none"
    assert answer["reason"] == "judge says that the input is invalid: a is there"
    report = reports(decision, answer["id"])["judge"]
    assert (report["refusal"], report["code"]) == ("bad input", "bad_input")
    assert report["detail"] == "a is there"
    assert "error" not in report
    assert main(["explain", str(decision.directory), answer["id"]]) == 0
    assert "judge says that the input is invalid" in capsys.readouterr().out


def test_another_model_refuses_only_for_itself(decision):
    _, answer = decision.ask({"data": {"b": 1, "k": 1}})
    assert answer["kind"] != "default"
    assert reports(decision, answer["id"])["careful"]["code"] == "bad_input"


def test_an_exception_counts_where_the_settings_say_so(decision):
    _, answer = decision.ask({"data": {}, "models": ["keys", "careless"]})
    assert answer["result"] == {"by": "careless"}
    report = reports(decision, answer["id"])["keys"]
    assert (report["refusal"], report["detail"]) == ("bad input", "KeyError: 'k'")


def test_models_that_the_request_asks_for_are_no_fallback(decision):
    for models in (["careless"], ["judge", "careful", "keys", "careless"], ["judge", "careful"]):
        _, answer = decision.ask({"data": {"k": 1}, "models": models})
        assert (answer["kind"], answer["reason"]) == ("preferred", ""), models
    _, answer = decision.ask({"data": {"k": 1}, "models": ["keys", "careless"]})
    expected = {"keys": ("preferred", ""), "careless": ("fallback", "keys has not answered")}
    assert (answer["kind"], answer["reason"]) == expected[answer["model"]]  # the first to arrive
    _, answer = decision.ask({"data": {}, "models": ["keys", "careless"]})
    assert answer["kind"] == "fallback"  # keys was its first choice, and has refused
