"""Check what a restarted server, or the worker of a hanging model, does with open requests."""

from __future__ import annotations

import signal

import pytest
from running import MODELS, SCHEDULE, Client, Decision, write_decision


@pytest.fixture
def slow(tmp_path):
    """Return a decision whose SLA is long enough for a restart."""
    directory = tmp_path / "fraud"
    port = write_decision(directory, model="predict_timeout_ms = 1000")
    text = SCHEDULE.replace("sla_ms = 60", "sla_ms = 30000").replace("30\n", "10000\n")
    text = text.replace("50\n", "20000\n")
    (directory / "schedules" / "production.toml").write_text(text)
    decision = Decision(directory, port)
    try:
        yield decision
    finally:
        decision.close()


def test_a_restarted_server_answers_what_is_still_open_as_it_would_have_done(slow):
    slow.start("server", *MODELS, "proxy-0")
    slow.await_ready()
    slow.kill("server")
    with Client(slow.port) as client:
        # All models report while no server runs; the champion reports last.
        slow.signal("gbm", signal.SIGSTOP)
        client._connection.request("POST", "/v1/decide", b'{"data": {}, "trace": true}')
        await_reports(slow, "mlp", "fast")
        slow.signal("gbm", signal.SIGCONT)
        await_reports(slow, "gbm")
        slow.restart("server")
        import orjson

        answer = orjson.loads(client._connection.getresponse().read())
    assert answer["kind"] == "preferred"
    assert answer["answered_by"] == "server"
    assert [arrival["model"] for arrival in answer["trace"]][-1] == "gbm"
    assert len(answer["trace"]) == 3
    assert slow.stories()[answer["id"]]["model"] == "gbm"


def test_a_request_is_not_answered_again_after_a_restart(slow):
    slow.start("server", *MODELS, "proxy-0")
    slow.await_ready()
    with Client(slow.port) as client:
        first = client.post({"data": {}})[1]["id"]
        slow.kill("server")
        slow.restart("server")
        client.post({"data": {}})
    assert first in slow.stories()  # `stories` asserts that there is only one result


def test_a_hanging_model_is_ended_and_its_batch_reported(slow):
    slow.start("server", *MODELS, "proxy-0")
    slow.await_ready()
    with Client(slow.port) as client:
        status, answer = client.post({"data": {"gbm": "hang"}})
        assert status == 200
        # The error ends the first step early: the server does not wait 10 s for a dead champion.
        assert answer["kind"] == "fallback"
        assert answer["waited_ms"] < 9_000
        assert "hung" in slow.reports("gbm")[answer["id"]]["error"]
        assert slow.processes.pop("gbm").wait(30) == 75
        slow.restart("gbm")
        assert client.post({"data": {}})[1]["kind"] == "preferred"


def await_reports(decision, *models):
    from rdv.stream import open_stream

    wanted = set(models)
    with open_stream(str(decision.directory / "scores")) as scores, scores.consumer() as news:
        for _ in range(300):
            wanted -= {record.topic for record in news.poll(timeout=0.2)}
            if not wanted:
                return
    raise AssertionError(f"no reports of {wanted}")
