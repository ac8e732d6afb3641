"""Check that a champion of a real decision gives the same answers when it is replayed."""

from __future__ import annotations

import contextlib
import http.client
import json

import orjson
import pytest
from running import MODELS, Client, Decision, Load, is_preferred, write_decision

from rdv.__main__ import main


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Run two proxies and two partitions, send outcomes to one proxy, then kill all processes."""
    directory = tmp_path_factory.mktemp("replay") / "fraud"
    port = write_decision(directory, proxies=2)
    settings = directory / "rdv.toml"
    decoy = '[models.archive]\nbuiltin = "decoy"\n'
    settings.write_text("partitions = 2\n" + settings.read_text() + decoy)
    decision = Decision(directory, port)
    try:
        decision.start("server", *MODELS, "proxy-0", "proxy-1")
        decision.await_ready()
        with Load([port, port + 1]) as load:
            load.until(is_preferred, "preferred")
            load.more(200)
        with Client(port) as client:
            assert client.post({"data": {"gbm": "raise"}})[1]["kind"] != "preferred"
        told = [
            {"id": answer["id"], "outcome": {"score": n % 4 and 1}}
            for n, answer in enumerate(load.answers[:100])
        ]
        connection = http.client.HTTPConnection("127.0.0.1", port + 1, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/outcomes", orjson.dumps(told))
            assert connection.getresponse().status == 202
        decision.kill(*decision.processes)
        yield decision, load.answers
    finally:
        decision.close()


@pytest.fixture
def run(capfd):
    def call(*arguments):
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return (code, *capfd.readouterr())

    return call


def test_a_replayed_champion_gives_the_same_answers(recorded, run):
    decision, answers = recorded
    code, out, err = run("replay", decision.directory, "--name", "gbm", "--on", "score", "--json")
    assert code == 0, err
    found = json.loads(out)
    total = len(decision.lines("input"))
    assert found["requests"] == total >= len(answers)
    assert found["errors"] == 1
    assert found["reasons"] == {"ValueError: no such luck": 1}
    comparison = found["comparison"]
    assert comparison["requests"] == total
    against = {one["against"]: one for one in comparison["against"]}
    assert against["gbm"]["requests"] == against["gbm"]["equal"]
    scored = [line for line in decision.reports("gbm").values() if "result" in line]
    assert against["gbm"]["requests"] == len(scored)
    assert comparison["outcomes_known"] == 100
    # 0.5 is on the side of 1, the outcome of three in four.
    assert comparison["accuracy"]["estimate"] == 0.75


def test_replay_says_whether_the_model_would_have_kept_up(recorded, run):
    decision, _ = recorded
    code, out, _ = run("replay", decision.directory, "--name", "gbm", "--speed", "1", "--json")
    assert code == 0
    found = json.loads(out)
    pace = found["pace"]
    parts = ("in_time", "late", "failed", "behind", "expired")
    assert sum(pace[part] for part in parts) == found["requests"] == len(decision.lines("input"))


def test_everything_is_exported(recorded, run, tmp_path):
    decision, _ = recorded
    out = tmp_path / "out"
    code, text, _ = run("export", decision.directory, "-o", out, "--json")
    assert code == 0
    rows = {table["table"]: table["rows"] for table in json.loads(text)["tables"]}
    for name in ("input", "scores", "results", "outcomes"):
        assert rows[name] == len(decision.lines(name))
    assert rows["joined"] == rows["input"]
