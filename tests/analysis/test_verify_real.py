"""Verify real decisions whose processes are killed and stopped under load."""

from __future__ import annotations

import signal

import pytest
from running import (
    MODELS,
    SCHEDULE,
    Client,
    Decision,
    Load,
    is_default,
    is_preferred,
    write_decision,
)

from rdv.analysis.dataset.join import read_joined
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.explain import explain, find_request
from rdv.analysis.verify import verify
from rdv.stream import open_stream

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def decision(tmp_path):
    directory = tmp_path / "fraud"
    port = write_decision(directory, proxies=2)
    settings = directory / "rdv.toml"
    settings.write_text("partitions = 2\n" + settings.read_text())
    decision = Decision(directory, port)
    try:
        decision.start("server", *MODELS, "proxy-0", "proxy-1")
        decision.await_ready()
        yield decision
    finally:
        decision.close()


def write_decision_with(directory, text):
    port = write_decision(directory)
    (directory / "schedules" / "production.toml").write_text(text)
    return port


def test_decisions_are_reproduced_whichever_process_is_killed_or_stopped(decision, tmp_path):
    with Load([decision.port, decision.port + 1]) as load:
        load.until(is_preferred, "preferred")
        decision.kill("gbm")
        load.until(lambda a: a["kind"] == "fallback", "a fallback")
        decision.restart("gbm")
        decision.kill("server")
        load.until(is_default, "a default by the proxy")
        decision.restart("server")
        load.until(is_preferred, "preferred again")
        decision.kill("proxy-0")
        load.more(10)
        decision.restart("proxy-0")
        decision.signal("server", signal.SIGSTOP)
        load.until(is_default, "a default by the proxy")
        decision.signal("server", signal.SIGCONT)
        load.until(is_preferred, "preferred again")
        (decision.directory / "schedules" / "production.toml").write_text(
            SCHEDULE.replace("until_ms = 30", "until_ms = 40")
        )
        load.until(lambda a: a["schedule"] != load.answers[0]["schedule"], "of the new schedule")
        names = list(decision.processes)
        decision.kill(*names)
        decision.restart(*names)
        load.until(is_preferred, "preferred again")
    check(decision, load)
    for stream, topic in (("input", "p-x"), ("scores", "gbm"), ("results", "p-x")):
        with (
            open_stream(str(decision.directory / stream)) as opened,
            opened.producer() as producer,
        ):
            producer.send_many(topic, [b"not JSON\n", b'{"id":7}\n', b"\xff\n"], partition=0)
    check(decision, load)


def check(decision, load):
    with Recorded(str(decision.directory)) as recorded:
        found = verify(recorded)
        assert not found.differences
        assert not found.notes.strays
        # Requests of the last two seconds may not be due yet; no missing answer is a fault.
        assert not found.unanswered_ids
        assert not found.unchecked
        assert found.is_sound
        assert found.same > len(load.answers) / 2
        some = load.answers[len(load.answers) // 2]
        story = explain(recorded, find_request(recorded, some["id"]))
    assert story.answer is not None
    assert (story.answer.kind, story.answer.model) == (some["kind"], some["model"])
    assert {report.model for report in story.reports} == set(MODELS)
    joined, _ = read_joined(str(decision.directory))
    rows = {joined.id(row): row for row in range(len(joined))}
    for answer in load.answers:
        row = rows[answer["id"]]
        assert joined.model.at(row) == answer["model"]
        assert joined.label.at(row) == answer["schedule"]


def test_mailboxes_that_were_rebuilt(tmp_path):
    """A server that restarts in time decides by the reports that it then reads."""
    directory = tmp_path / "slow"
    text = SCHEDULE.replace("sla_ms = 60", "sla_ms = 30000").replace("30\n", "10000\n")
    decision = Decision(directory, write_decision_with(directory, text.replace("50\n", "20000\n")))
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        with Load([decision.port], clients=8) as load:
            load.until(is_preferred, "preferred")
            for _ in range(2):
                decision.kill("server")
                decision.restart("server")
                load.more(20)
        with Client(decision.port) as client:
            assert client.post({"data": {"gbm": "raise"}})[1]["kind"] == "fallback"
        assert all(answer["answered_by"] == "server" for answer in load.answers)
        with Recorded(str(directory)) as recorded:
            found = verify(recorded)
        assert not found.differences
        assert found.same >= len(load.answers) + 1
        assert found.is_sound
    finally:
        decision.close()
