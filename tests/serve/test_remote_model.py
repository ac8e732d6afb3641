"""Check a decision whose champion is asked over HTTP: its server may be slow, or gone."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
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


def test_the_example_runs_as_its_readme_says(tmp_path):
    port, server_port, place = free_port(), free_port(), tmp_path / "remote"
    shutil.copytree(EXAMPLE, place)
    for name in ("README.md", "rdv.toml", "schedules/production.toml"):
        text = (place / name).read_text().replace("8100", str(port))
        text = text.replace("8080", str(server_port)).replace("sla_ms = 200", "sla_ms = 20000")
        (place / name).write_text(text.replace("until_ms = 100", "until_ms = 5000"))
    start, ask = re.findall(r"```sh\n(.*?)```", (place / "README.md").read_text(), re.DOTALL)
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    bash = {"cwd": place, "env": {**os.environ, "PATH": path}, "text": True}
    script = start.replace(" &\n", " & echo $! > pid\n")
    with (
        (place / "log").open("w") as log,
        subprocess.Popen(["bash", "-ec", script], stderr=log, start_new_session=True, **bash) as it,
    ):
        try:
            lines = ("listening", "gbm-0 is ready", "fast-0 is ready")
            said = (place / "log").read_text
            wait_until(lambda: all(one in said() for one in lines), "it does not start", 0.05)

            def asked():
                found = subprocess.check_output(["bash", "-ec", ask], **bash)
                return json.JSONDecoder().raw_decode(found)[0]

            answer = wait_until(lambda: (one := asked())["model"] == "gbm" and one)
            assert (answer["result"], answer["version"]) == ({"score": 0.04}, "3")
            os.kill(int((place / "pid").read_text()), signal.SIGKILL)
            answer = asked()
            assert (answer["model"], answer["result"]) == ("fast", {"score": 0.0})
        finally:
            os.killpg(it.pid, signal.SIGTERM)
