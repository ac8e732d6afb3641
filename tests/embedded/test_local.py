"""Check `rdv.local` with real model files, against the same decision behind `rdv serve`."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from running import MODELS, Client, Decision, write_decision

import rdv
from rdv.embedded import caller

PATIENT = """
sla_ms = 20000
default = { score = 0.0, by = "default" }
[[step]]
until_ms = 10000
accept = ["gbm"]
[[step]]
until_ms = 15000
accept = ["gbm", "mlp"]
[[step]]
accept = ["*"]
"""
MEAN = """
sla_ms = 20000
default = "none"
[[step]]
accept = ["gbm", "mlp", "fast"]
need = "all"
combine = "mean"
"""
COHORTS = """
[cohorts]
salt = "s"
[cohorts.half]
share = 0.5
schedule = "mean"
"""
ROWS = [
    {}, {"gbm": "raise"}, {"gbm": "nan"}, {"all": "raise"}, {"gbm": "raise", "mlp": "nan"},
    {"gbm": "short"}, [1, 2.5, None], "text", 7, None, {"deep": [[[{"a": True}]]]},
    {"large": 2**64 - 1, "small": -(2**63)},
]  # fmt: skip
SAME = ("kind", "model", "version", "code", "step", "schedule", "cohort")


def write(directory):
    port = write_decision(directory, more=COHORTS)
    (directory / "schedules" / "production.toml").write_text(PATIENT)
    (directory / "schedules" / "mean.toml").write_text(MEAN)
    return port


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("local") / "fraud"
    write(directory)
    return directory


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Serve a copy of the decision by real processes."""
    directory = tmp_path_factory.mktemp("served") / "fraud"
    served = Decision(directory, write(directory))
    try:
        served.start("server", *MODELS, "proxy-0")
        served.await_ready()
        yield served
    finally:
        served.close()


ASKED = [
    {}, {"schedule": "mean"}, {"models": ["mlp", "fast"]}, {"key": "user-7"}, {"key": "user-8"},
    {"key": "user-9"}, {"schedule": {"sla_ms": 9_000, "default": 1, "step": [{"accept": ["mlp"]}]}},
]  # fmt: skip


def test_the_answers_are_those_of_rdv_serve(served):
    with Client(served.port) as client, rdv.local(served.directory) as decision:
        cohorts = set()
        for row in ROWS:
            for named in ASKED:
                status, found = client.post({"data": row, **named})
                answer = decision.decide(row, **named)
                assert status == 200
                assert (answer.answer, *(getattr(answer, name) for name in SAME)) == (
                    found["result"], *(found[name] for name in SAME),
                ), (row, named)  # fmt: skip
                if answer.model is not None:  # else it says who had reported until then
                    assert answer.reason == found["reason"]
                cohorts.add(answer.cohort)
        assert cohorts == {None, "half"}
        for named in ({"schedule": "nope"}, {"models": ["nope"]}, {"models": []}):
            status, refused = client.post({"data": {}, **named})
            with pytest.raises(rdv.RequestRefused) as raised:
                decision.decide({}, **named)
            assert (raised.value.status, raised.value.server_code, raised.value.message) == (
                status, refused["error"]["code"], refused["error"]["message"],
            )  # fmt: skip


def test_looking_and_deciding_create_nothing(directory):
    def files():
        return sorted(str(path) for path in directory.rglob("*"))

    before = files()
    with rdv.local(directory) as decision:
        decision.decide({})
        assert decision.models.keys() == {"gbm", "mlp", "fast"}
        assert "fraud" in repr(decision)
    assert files() == before


@pytest.fixture
def decision(directory):
    with rdv.local(directory) as decision:
        yield decision


def test_an_answer_has_what_an_answer_of_a_client_has(decision):
    answer = decision.decide({"gbm": "raise"}, trace=True)
    assert (answer.kind, answer.model, answer.answered_by) == ("fallback", "mlp", "local")
    assert [(one.model, one.outcome) for one in answer.trace] == [
        ("gbm", "error"), ("mlp", "result"),
    ]  # fmt: skip
    assert len(answer.id) == 32
    assert answer.waited_ms > 0
    assert "mlp" in answer._repr_html_()


def test_only_what_matters_is_evaluated_unless_all_models_are_wanted(decision):
    assert decision.decide({}).scores is None
    answer = decision.decide({"mlp": "raise"}, all_models=True)
    assert answer.model == "gbm"
    assert answer.scores.keys() == {"gbm", "fast"}
    assert answer.scores["fast"]["by"] == "fast"


def test_what_is_late_is_the_marked_default(directory, tmp_path):
    """As in serving: the answer of a model that takes longer than the SLA is not taken."""
    slow = {"sla_ms": 1, "default": "late", "step": [{"accept": ["gbm"]}]}
    with rdv.local(directory) as decision:
        answer = decision.decide({"gbm": "sleep"}, schedule=slow)
        assert (answer.answer, answer.kind, answer.is_default) == ("late", "default", True)
        assert answer.code
        answer = decision.decide({"gbm": "sleep"}, deadline_ms=1)
        assert answer.kind == "default"
        with pytest.raises(rdv.InvalidCall):
            decision.decide({}, deadline_ms=0)


def test_rows_of_numpy_are_what_a_server_would_read(decision):
    row = {"a": np.float32(0.5), "b": np.arange(3), "c": float("nan"), "d": (1, 2)}
    assert decision.decide(row).kind == "preferred"
    with pytest.raises(rdv.InvalidCall):
        decision.decide({"a": float("inf")})
    deep = []
    for _ in range(150):
        deep = [deep]
    with pytest.raises(rdv.InvalidCall, match="nested"):
        decision.decide(deep)


def test_a_model_cannot_change_the_row_of_another(tmp_path):
    directory = tmp_path / "fraud"
    write_decision(directory)
    (directory / "models" / "gbm.py").write_text(
        "def predict(rows):\n    rows[0].clear()\n    raise ValueError\n"
    )
    (directory / "models" / "mlp.py").write_text("def predict(rows):\n    return rows\n")
    row = {"a": 1}
    with rdv.local(directory) as decision:
        assert decision.decide(row).answer == {"a": 1}
    assert row == {"a": 1}


def test_a_reload_takes_what_is_in_the_files(tmp_path):
    directory = tmp_path / "fraud"
    write_decision(directory)
    (directory / "schedules" / "production.toml").write_text(PATIENT)
    with rdv.local(directory) as decision:
        before = decision.decide({}).version
        model = directory / "models" / "gbm.py"
        model.write_text(model.read_text().replace("0.5", "0.75"))
        assert decision.decide({}).answer["score"] == 0.5
        decision.reload()
        answer = decision.decide({})
        assert answer.answer["score"] == 0.75
        assert answer.version != before
        model.write_text("def predict(:")
        with pytest.raises(rdv.RdvError, match="gbm"):
            decision.reload()
        assert decision.decide({}).answer["score"] == 0.75
        (directory / "schedules" / "production.toml").write_text("sla_ms = -1")
        with pytest.raises(rdv.RdvError):
            decision.reload()
        assert decision.decide({}).answer["score"] == 0.75
    with pytest.raises(rdv.InvalidCall, match="closed"):
        decision.decide({})
    decision.close()


def test_a_model_that_cannot_be_loaded_is_an_error_or_missing(tmp_path, caplog):
    directory = tmp_path / "fraud"
    write_decision(directory)
    (directory / "schedules" / "production.toml").write_text(PATIENT)
    (directory / "models" / "gbm.py").write_text("import nothing_of_this_name")
    with pytest.raises(rdv.RdvError, match="nothing_of_this_name"):
        rdv.local(directory)
    with rdv.local(directory, allow_missing=True) as decision:
        answer = decision.decide({})
        assert (answer.model, answer.kind) == ("mlp", "fallback")
        assert "nothing_of_this_name" in caplog.text
    with pytest.raises(rdv.RdvError):
        rdv.local(tmp_path / "nowhere")


def test_an_enricher_is_called(tmp_path, caplog):
    directory = tmp_path / "fraud"
    write_decision(directory, http='enrich = "models/more.py:enrich"')
    (directory / "models" / "more.py").write_text(
        "def enrich(data):\n    return {**data, 'more': 1 / data['n']}\n"
    )
    (directory / "models" / "gbm.py").write_text("def predict(rows):\n    return rows\n")
    with rdv.local(directory) as decision:
        assert decision.decide({"n": 2}).answer == {"n": 2, "more": 0.5}
        assert decision.decide({"n": 0}).answer == {"n": 0}
        assert "enricher" in caplog.text


def test_enrichers_that_are_not_asked_are_named(tmp_path, caplog):
    directory = tmp_path / "fraud"
    write_decision(directory, more='[enrich_http]\nurl = "http://127.0.0.1:9/{key}"\n')
    with rdv.local(directory) as decision:
        assert "[enrich_http] is not asked" in caplog.text
        assert decision.decide({"n": 0}).id


@pytest.mark.parametrize("on_invalid", ["reject", "default", "pass"])
def test_a_schema_is_held_against_as_in_serving(tmp_path, on_invalid):
    directory = tmp_path / "fraud"
    schema = f"""
    [schema]
    on_invalid = "{on_invalid}"
    [schema.columns]
    amount = {{ type = "number", min = 0 }}
    country = {{ type = "string", default = "de" }}
    """
    served = Decision(directory, write_decision(directory, more=schema))
    (directory / "schedules" / "production.toml").write_text(PATIENT)
    (directory / "models" / "gbm.py").write_text("def predict(rows):\n    return rows\n")
    try:
        served.start("server", *MODELS, "proxy-0")
        served.await_ready()
        with Client(served.port) as client, rdv.local(directory) as decision:
            for row in ({"amount": 1}, {"amount": -1}, {}, {"amount": 1, "country": 7}, [1]):
                status, found = client.post({"data": row})
                if status == 200:
                    answer = decision.decide(row)
                    assert (answer.answer, answer.kind, answer.code, answer.reason) == (
                        found["result"], found["kind"], found["code"], found["reason"],
                    )  # fmt: skip
                    continue
                with pytest.raises(rdv.RequestRefused) as raised:
                    decision.decide(row)
                error = raised.value
                assert (error.status, error.server_code) == (status, found["error"]["code"])
                assert error.message == found["error"]["message"]
    finally:
        served.close()


def test_a_model_may_say_that_the_input_is_at_fault(tmp_path):
    directory = tmp_path / "fraud"
    write_decision(directory)
    judged = 'input_judges = ["gbm"]' + PATIENT
    (directory / "schedules" / "production.toml").write_text(judged)
    (directory / "schedules" / "mild.toml").write_text(PATIENT)
    (directory / "models" / "gbm.py").write_text(
        "import rdv\ndef predict(rows):\n    raise rdv.InputError('no amount')\n"
    )
    with rdv.local(directory) as decision:
        answer = decision.decide({}, trace=True)
        assert (answer.kind, answer.code) == ("default", "bad_input")
        assert [one.outcome for one in answer.trace] == ["bad input"]
        assert decision.decide({}, schedule="mild").model == "mlp"


def test_threads_take_turns(decision):
    answers = []

    def ask():
        answers.extend(decision.decide({}).model for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["gbm"] * 200


def test_ids_of_parent_and_child_differ(decision):
    decision.decide({})
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, decision.decide({}).id.encode())
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert os.read(read, 100).decode() != decision.decide({}).id
    os.close(read)
    os.close(write)


def test_a_fork_while_another_thread_decides_leaves_the_child_usable(decision):
    busy = threading.Thread(target=decision.decide, args=({"gbm": "sleep"},))
    busy.start()
    child = os.fork()
    if child == 0:
        os._exit(decision.decide({}).model != "gbm")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    busy.join()


def test_isolated_models_stay_with_the_process_that_opened_them(directory):
    with rdv.local(directory, isolation="process") as decision:
        assert decision.decide({}).model == "gbm"
        child = os.fork()
        if child == 0:
            try:
                decision.decide({})
            except rdv.InvalidCall:
                decision.close()
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert decision.decide({}).model == "gbm"


def test_an_interrupt_ends_the_call(tmp_path):
    """Ctrl-C in a model of the caller's thread is no error of the model."""
    directory = tmp_path / "fraud"
    write_decision(directory)
    (directory / "schedules" / "production.toml").write_text(PATIENT)
    (directory / "models" / "gbm.py").write_text(
        "import os, signal\ndef predict(rows):\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return rows\n"
    )
    # In the background of a shell SIGINT is ignored, and Python leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with rdv.local(directory) as decision, pytest.raises(KeyboardInterrupt):
            decision.decide({})
    finally:
        signal.signal(signal.SIGINT, before)


def test_isolated_models_can_hang_and_die(tmp_path):
    """A decision ends with its SLA whatever its models do, and the next one has them again."""
    directory = tmp_path / "fraud"
    write_decision(directory, model="predict_timeout_ms = 1000")
    (directory / "schedules" / "production.toml").write_text(PATIENT)
    hasty = {"sla_ms": 100, "default": "late", "step": [{"accept": ["gbm"]}]}
    with rdv.local(directory, isolation="process") as decision:
        assert decision.decide({}).model == "gbm"
        for what in ("exit", "segfault", "raise"):
            answer = decision.decide({"gbm": what})
            assert (answer.model, answer.kind) == ("mlp", "fallback"), what
            _until(lambda: decision.decide({}).model == "gbm")
        answer = decision.decide({"gbm": "hang"}, schedule=hasty)
        assert (answer.answer, answer.kind) == ("late", "default")
        assert decision.decide({}, schedule=hasty).answer == "late"  # it is still busy
        _until(lambda: decision.decide({}).model == "gbm")
        models = decision._loaded.models.values()
        children = [model._process.child.pid for model in models]
        assert len(children) == 3
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_an_isolated_model_that_cannot_be_started_again_is_tried_until_it_can(tmp_path):
    directory = tmp_path / "fraud"
    write_decision(directory)
    (directory / "schedules" / "production.toml").write_text(PATIENT)
    file = directory / "models" / "gbm.py"
    text = file.read_text()
    with rdv.local(directory, isolation="process") as decision:
        assert decision.decide({}).model == "gbm"
        file.write_text("raise RuntimeError('half written')")
        assert decision.decide({"gbm": "exit"}).model == "mlp"
        gbm = decision._loaded.models["gbm"]
        _until(lambda: gbm._failures > 2)
        assert "half written" in gbm._fault
        assert decision.decide({}).model == "mlp"
        file.write_text(text)
        _until(lambda: decision.decide({}).model == "gbm")
        assert gbm._failures == 0
        file.write_text("raise RuntimeError('broken for good')")
        assert decision.decide({"gbm": "exit"}).model == "mlp"
        _until(lambda: "for good" in gbm._fault)
    assert not gbm._starting.is_alive()


def test_an_isolated_model_is_tried_again_whatever_keeps_it_from_starting(tmp_path, monkeypatch):
    directory = tmp_path / "fraud"
    write_decision(directory)
    (directory / "schedules" / "production.toml").write_text(PATIENT)
    errors = [OSError(11, "Resource temporarily unavailable"), MemoryError(), ValueError("odd")]
    real = caller.start

    def start(loading):
        if errors:
            raise errors.pop()
        return real(loading)

    with rdv.local(directory, isolation="process") as decision:
        monkeypatch.setattr(caller, "start", start)
        assert decision.decide({"gbm": "exit"}).model == "mlp"
        _until(lambda: decision.decide({}).model == "gbm")
        assert errors == []


def _until(condition):
    from waiting import wait_until

    wait_until(condition)


def test_isolation_is_one_of_two(directory):
    with pytest.raises(rdv.InvalidCall, match="isolation"):
        rdv.local(directory, isolation="docker")
