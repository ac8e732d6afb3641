"""Check a decision whose champion is asked over HTTP: its server may be slow, or gone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from model_server import ModelServer, predictions
from ports import free_port
from running import Client, Decision, Load, is_preferred, write_decision
from waiting import wait_until

EXAMPLE = Path(__file__).parents[2] / "examples/remote"
SCHEDULE = """
sla_ms = 20000
default = { score = 0.0, by = "default" }
[[step]]
until_ms = 1000
accept = ["gbm"]
[[step]]
accept = ["gbm", "mlp"]
"""


def scores(asked):
    answers = [{"score": 0.5, "by": "gbm", "n": row.get("n")} for row in asked.rows]
    asked.answer(predictions(*answers, model_version="7"))


@pytest.fixture
def server():
    with ModelServer(scores) as server:
        yield server


@contextmanager
def served(directory, server, more=""):
    port = write_decision(directory)
    (directory / "schedules" / "production.toml").write_text(SCHEDULE)
    toml = directory / "rdv.toml"
    remote = f'http = "{server.url}/score"\n{more}'
    toml.write_text(toml.read_text().replace('path = "models/gbm.py"', remote))
    decision = Decision(directory, port)
    try:
        decision.start("server-0", "proxy-0", "gbm", "mlp")
        decision.await_ready("server-0", "proxy-0", "gbm", "mlp")
        yield decision
    finally:
        decision.close()


def test_the_fallback_answers_while_the_server_hangs_and_the_champion_comes_back(tmp_path, server):
    with served(tmp_path / "fraud", server) as decision, Load([decision.port]) as load:
        load.until(is_preferred, "preferred")
        server.behaviour = lambda asked: asked.hang()
        load.until(lambda answer: answer["model"] == "mlp", "the fallback's")
        load.until(lambda answer: answer.get("code") == "champion_unavailable", "without a wait")
        server.behaviour = scores
        load.until(is_preferred, "preferred again")
    kinds = {answer["kind"] for answer in load.answers}
    assert kinds == {"preferred", "fallback"}
    load.check(decision, sla_ms=20_000)
    reports = decision.reports("gbm").values()
    assert {one.get("version") for one in reports if "result" in one} == {"7"}
    assert {one.get("code") for one in reports} == {None, "timeout", "unavailable"}


def test_a_slow_request_holds_up_no_other(tmp_path, server):
    held = []

    def reply(asked):
        if any(row.get("slow") for row in asked.rows):
            held.append(asked)
            asked.hang()
        else:
            scores(asked)

    server.behaviour = reply
    with (
        served(tmp_path / "fraud", server, "batch_max = 1") as decision,
        Client(decision.port) as slow,
        Client(decision.port) as client,
    ):
        body = json.dumps({"data": {"slow": True}}).encode()
        slow._connection.request("POST", "/v1/decide", body)
        wait_until(lambda: held, "the slow request was not sent")
        for number in range(20):
            status, answer = client.post({"data": {"n": number}})
            assert (status, answer["model"]) == (200, "gbm")
            assert answer["result"]["n"] == number
        answer = json.loads(slow._connection.getresponse().read())
        assert answer["model"] == "mlp"


def test_a_worker_that_is_stopped_reports_what_is_in_flight(tmp_path, server):
    with served(tmp_path / "fraud", server) as decision, Client(decision.port) as client:
        for number in range(5):
            assert is_preferred(client.post({"data": {"n": number}})[1])
        decision.processes["gbm"].terminate()
        decision.processes.pop("gbm").wait(30)
        assert client.post({"data": {"n": 6}})[1]["model"] == "mlp"
        decision.restart("gbm")
        load = Load([decision.port], clients=1)
        with load:
            load.until(is_preferred, "preferred")
        assert len(decision.reports("gbm")) >= 6


def test_a_model_that_must_see_everything_waits_for_its_server(tmp_path, server):
    server.behaviour = lambda asked: asked.answer(b"", "503 Service Unavailable", ())
    with (
        served(tmp_path / "fraud", server, 'when_behind = "all"\nbatch_max = 1') as decision,
        Client(decision.port) as client,
    ):
        ids = [client.post({"data": {"n": number}})[1]["id"] for number in range(12)]
        server.behaviour = scores
        wait_until(lambda: len(decision.reports("gbm")) == len(ids), "some were never reported")
        reports = decision.reports("gbm")
        assert set(reports) == set(ids)
        assert any("result" in one for one in reports.values())
        assert not any("refusal" in one for one in reports.values())


def test_the_example(tmp_path):
    port, server_port = free_port(), free_port()
    place = tmp_path / "remote"
    shutil.copytree(EXAMPLE, place)
    (place / "rdv.toml").write_text(
        (place / "rdv.toml")
        .read_text()
        .replace("8100", str(port))
        .replace("8080", str(server_port))
    )
    schedule = place / "schedules" / "production.toml"
    schedule.write_text(schedule.read_text().replace("100", "5000").replace("200", "20000"))
    with subprocess.Popen([sys.executable, place / "server.py", str(server_port)]) as process:
        decision = Decision(place, port)
        try:
            decision.start("server-0", "proxy-0", "gbm", "fast")
            decision.await_ready("server-0", "proxy-0", "gbm", "fast")
            with Client(port) as client:
                _, answer = wait_until(lambda: of_gbm(client.post({"data": {"amount": 40}})))
                assert answer["result"] == {"score": 0.04}
                process.kill()
                assert client.post({"data": {"amount": 4000}})[1]["result"] == {"score": 1.0}
            versions = {one["version"] for one in decision.reports("gbm").values()}
            assert "3" in versions
        finally:
            process.kill()
            decision.close()


def of_gbm(found):
    """Return the answer if it is the server's, which may not be up yet."""
    return found if found[1]["model"] == "gbm" else None
