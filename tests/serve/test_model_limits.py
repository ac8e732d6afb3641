"""Check the limits of a model's process, and the row that it evaluates before it is ready."""

from __future__ import annotations

import pytest
from running import Client, Decision, write_decision

from rdv.decision import InvalidDecision, ModelConfig
from rdv.decision.convert import make_decision
from rdv.models import ModelError, open_model
from rdv.rendezvous.topology import INPUT
from rdv.serve.worker.warm_up import warm_up
from rdv.stream import open_stream
from rdv.system.limits import parse_size

HUNGRY = """
import os
kept = []
def predict(rows):
    if any(row.get("gbm") == "eat" for row in rows):
        kept.append(b"1" * 2_000_000_000)
    return [{"score": 1, "nice": os.nice(0)} for _ in rows]
"""
SEEN = """
columns = ["a"]
seen = []
def predict(rows):
    seen.extend(rows)
    if FAILS:
        raise ValueError("no")
    return rows
"""


def test_a_model_beyond_memory_max_fails_by_itself_and_ends_with_a_code(tmp_path):
    directory = tmp_path / "fraud"
    port = write_decision(directory, model='memory_max = "300MiB"\nnice = 3')
    (directory / "models" / "gbm.py").write_text(HUNGRY)
    decision = Decision(directory, port)
    try:
        decision.start("server", "gbm", "proxy-0")
        decision.await_ready()
        long = {"sla_ms": 6_000, "default": 0, "step": [{"accept": ["gbm"]}]}
        with Client(decision.port) as client:
            assert client.post({"data": {}, "schedule": long})[1]["result"]["nice"] >= 3
            answer = client.post({"data": {"gbm": "eat"}, "schedule": long})[1]
        assert answer["kind"] == "default"
        score = decision.reports("gbm")[answer["id"]]
        assert (score["code"], "MemoryError" in score["error"]) == ("out_of_memory", True)
        assert decision.processes.pop("gbm").wait(60) == 76
    finally:
        decision.close()


@pytest.mark.parametrize("text", ["much", "-1GB", "1 XB", "10KB"])
def test_a_size_that_is_none_is_refused(text):
    models = {"models": {"m": {"path": "m.py", "memory_max": text}}}
    with pytest.raises(InvalidDecision, match="memory_max"):
        make_decision(models, "rdv.toml")


def test_sizes():
    sizes = {"2GiB": 2**31, "2GB": 2 * 10**9, "2G": 2**31, "1.5 KiB": 1536, "7": 7, "7B": 7}
    assert {text: parse_size(text) for text in sizes} == sizes


@pytest.fixture
def warmed(tmp_path):
    """Return a function that warms a model up, and the rows that it has seen."""

    def warm(text=""):
        text = text or SEEN.replace("FAILS", "False")
        (tmp_path / "m.py").write_text(text)
        model = open_model(str(tmp_path), "m", path="m.py")
        with open_stream(str(tmp_path / INPUT)) as requests:
            warm_up(model, requests, ModelConfig(path="m.py"), str(tmp_path / "in-hand"), "m-0")
        return model._module.seen

    return warm


def test_a_row_that_is_made_from_the_columns(warmed, tmp_path):
    assert warmed() == [{"a": 0}]
    assert list((tmp_path / "in-hand").iterdir()) == []


def test_a_failure_of_the_row_is_no_failure_to_load(warmed):
    assert warmed(SEEN.replace("FAILS", "True")) == [{"a": 0}]


def test_nothing_is_made_up_for_a_model_without_columns(warmed):
    assert warmed(SEEN.replace("FAILS", "False").replace("columns", "others")) == []


def test_a_row_that_has_ended_a_process_is_not_evaluated_again(warmed, tmp_path):
    warmed()
    version = open_model(str(tmp_path), "m", path="m.py").version
    mark = tmp_path / "in-hand" / "warm-up.m-0"
    mark.write_text(version)
    assert warmed() == []
    mark.write_text("another version")
    assert warmed() == [{"a": 0}]


def test_a_recorded_request_warms_a_worker_up_and_is_not_scored(tmp_path):
    directory = tmp_path / "fraud"
    port = write_decision(directory)
    (directory / "models" / "gbm.py").write_text(
        "seen = []\n"
        "def predict(rows):\n"
        "    seen.extend(rows)\n"
        "    return [list(seen)] * len(rows)\n"
    )
    decision = Decision(directory, port)
    long = {"sla_ms": 6_000, "default": 0, "step": [{"accept": ["gbm"]}]}
    try:
        decision.start("server", "gbm", "proxy-0")
        decision.await_ready()
        with Client(decision.port) as client:
            assert client.post({"data": 1, "schedule": long})[1]["result"] == [1]
            worker = decision.processes.pop("gbm")
            worker.terminate()
            assert worker.wait(60) == 0
            decision.restart("gbm")
            assert client.post({"data": 2, "schedule": long})[1]["result"] == [1, 2]
        assert len(decision.reports("gbm")) == 2
    finally:
        decision.close()


def test_memory_errors_have_a_cause_of_their_own(tmp_path):
    (tmp_path / "m.py").write_text("def predict(rows): raise MemoryError")
    model = open_model(str(tmp_path), "m", path="m.py")
    assert model.predict([1]) == [ModelError("MemoryError", "memory")]
