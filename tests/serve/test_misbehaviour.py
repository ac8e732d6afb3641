"""Check that misbehaving models spoil only the requests that they were given."""

from __future__ import annotations

import pytest
from running import Client, Load, is_preferred

from rdv.stream import open_stream


def reported(decision, model, id_):
    """Wait for the model's report on a request, and return it."""
    with (
        open_stream(str(decision.directory / "scores")) as scores,
        scores.consumer([model]) as news,
    ):
        for _ in range(300):
            for record in news.poll(1_000, timeout=0.2):
                if id_.encode() in record.value:
                    return decision.reports(model)[id_]
    raise AssertionError(f"{model} has never reported on {id_}")


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("raise", "no such luck"),
        ("nan", "nan"),
        ("short", "0 results for 1 rows"),
    ],
)
def test_a_result_that_is_none_is_an_error_and_another_model_answers(decision, what, says):
    with Client(decision.port) as client:
        status, answer = client.post({"data": {"gbm": what}, "trace": True})
        assert status == 200
        assert answer["kind"] != "preferred"
        assert says in reported(decision, "gbm", answer["id"])["error"]


def test_a_model_that_prints_does_no_harm(decision):
    with Client(decision.port) as client:
        _, answer = client.post({"data": {"all": "print"}})
        for model in ("gbm", "mlp", "fast"):
            assert "result" in reported(decision, model, answer["id"])


def test_a_model_that_sleeps_longer_than_the_sla(decision):
    with Client(decision.port) as client, Client(decision.port + 1) as other:
        status, answer = client.post({"data": {"gbm": "sleep"}})
        assert status == 200
        assert answer["kind"] != "preferred"
        assert reported(decision, "gbm", answer["id"])["evaluation_ms"] >= 200
        # The worker has learned that the model is slow; it tries it now and then, and finds it
        # quick again.
        for _ in range(1_000):
            if is_preferred(other.post({"data": {}})[1]):
                return
    raise AssertionError("the champion never came back")


@pytest.mark.parametrize("what", ["exit", "segfault"])
def test_a_model_that_ends_its_process(decision, what):
    with Load([decision.port + 1], clients=2) as load, Client(decision.port) as client:
        load.until(is_preferred, "preferred")
        status, answer = client.post({"data": {"gbm": what}})
        assert status == 200
        assert answer["kind"] != "preferred"
        assert decision.processes.pop("gbm").wait(30) != 0
        decision.restart("gbm")
        assert "the worker ended in this batch" in reported(decision, "gbm", answer["id"])["error"]
        load.until(is_preferred, "preferred again")
    load.check(decision)
    assert not load.broken


GARBAGE = [
    b"this is not JSON\n",
    b"\n",
    b"",
    b"{}\n",
    b'{"v":99,"id":"x"}\n',
    b'{"v":1,"id":7,"model":null}\n',
    b'{"v":1,"id":"nobody","model":"gbm","version":"1","time_ns":1,"result":1}\n',
    b'{"v":1,"id":"nobody","model":"gbm","version":"1","time_ns":1,"result":1,"error":"x"}\n',
    b'{"v":1,"id":"x","reply_to":"../../x","kind":"preferred","result":1,"schedule":"s","waited_ms":1}\n',
    b'{"v":1,"id":"u","time_ns":1,"host":"h","monotonic_ns":1,"reply_to":"../x","data":1}\n',
    b'{"v":1,"id":"s","time_ns":1,"host":"h","monotonic_ns":1,"reply_to":"p","data":"\\ud800"}\n',
    b"[" * 100_000 + b"\n",
    b"\xff\xfe\n",
    b'{"model":"gbm"}\n',
]


def test_garbage_in_every_stream(decision):
    with Load([decision.port, decision.port + 1]) as load:
        load.until(is_preferred, "preferred")
        for stream, topic in [
            ("input", "garbage"),
            ("input", f"p-{decision.port}"),
            ("scores", "gbm"),
            ("scores", "stranger"),
            ("results", f"p-{decision.port}"),
            ("control", "models"),
            ("control", "status"),
        ]:
            where = str(decision.directory / stream)
            with open_stream(where) as opened, opened.producer() as producer:
                for value in GARBAGE:
                    producer.send(topic, value)
                producer.send_many(topic, GARBAGE)
            load.until(is_preferred, f"preferred with garbage in {stream}:{topic}")
    assert not load.broken
    assert not load.refusals
    assert all(process.poll() is None for process in decision.processes.values())
    ids = {answer["id"] for answer in load.answers}
    assert len(ids) == len(load.answers)
