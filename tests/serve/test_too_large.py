"""Check that a record that is too large for the log costs no other request its answer."""

from __future__ import annotations

import itertools
import socket
import time

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import Decision, write_decision
from waiting import wait_until

from rdv.serve.outbox import send_fitting
from rdv.serve.proxy.shared_counts import ProxyCounts
from rdv.stream import StreamConfig, open_stream
from rdv.stream.errors import RecordTooLarge

LIMIT = 20_000
NUMBERS = itertools.count()
SCHEDULE = 'sla_ms = 20000\ndefault = "none"\n[[step]]\naccept = ["fast"]\n'
MERGED = """
sla_ms = 60000
default = ["none"]
[[step]]
accept = ["fast", "gbm"]
need = 2
combine = "topk"
top = 9
"""
MODEL = """
def predict(rows):
    return [["x" * row["answer"]] if row.get("listed") else "x" * row["answer"] for row in rows]
"""


class Spy:
    """The wrapper of a real producer counts its batches."""

    def __init__(self, producer):
        self.producer, self.batches = producer, 0

    def send_many(self, topic, lines, partition=None, wait_ms=None):
        self.batches += 1
        return self.producer.send_many(topic, lines, partition=partition)


@given(st.lists(st.integers(1, 60), max_size=30))
@settings(max_examples=100, deadline=None)
def test_what_fits_is_on_record_in_its_order(sizes):
    lines = [b"%03d" % number + b"x" * size for number, size in enumerate(sizes)]
    config = StreamConfig(partitions=1, record_bytes_max=40)
    with (
        open_stream(f"memory:fitting-{next(NUMBERS)}", config=config) as stream,
        stream.producer() as producer,
    ):
        spy = Spy(producer)
        failed = send_fitting(spy, "t", lines, 0)
        large = [number for number, line in enumerate(lines) if len(line) > 40]
        assert sorted(failed) == large
        assert all(isinstance(error, RecordTooLarge) for error in failed.values())
        assert spy.batches <= 2
        with stream.consumer(["t"]) as reader:
            found = [record.value for record in reader.poll(100)]
    assert found == [line for line in lines if len(line) <= 40]


class Small:
    """This producer accepts batches of at most 100 bytes."""

    def __init__(self):
        self.sent = []

    def send_many(self, topic, lines, partition=None, wait_ms=None):
        total = sum(map(len, lines))
        if total > 100:
            raise RecordTooLarge(total, 100, "batch")
        self.sent += lines


@given(st.lists(st.integers(1, 120), max_size=20))
def test_what_is_too_much_together_goes_in_parts(sizes):
    producer = Small()
    lines = [b"%02d" % number + b"x" * size for number, size in enumerate(sizes)]
    failed = send_fitting(producer, "t", lines, 0)
    assert sorted(failed) == [number for number, line in enumerate(lines) if len(line) > 100]
    assert producer.sent == [line for line in lines if len(line) <= 100]


@pytest.fixture(scope="module", params=["interval", "always"])
def decision(tmp_path_factory, request):
    directory = tmp_path_factory.mktemp("large") / "fraud"
    decision = Decision(directory, write_decision(directory, http="body_bytes_max = 200000"))
    (directory / "schedules" / "production.toml").write_text(SCHEDULE)
    (directory / "schedules" / "merged.toml").write_text(MERGED)
    (directory / "models" / "fast.py").write_text(MODEL)
    (directory / "models" / "gbm.py").write_text(MODEL.replace('"x"', '"y"'))
    config = StreamConfig(partitions=1, record_bytes_max=LIMIT, fsync=request.param)
    for name in ("input", "scores", "results", "outcomes"):
        open_stream(str(directory / name), config=config).close()
    try:
        decision.start("server", "fast", "gbm", "proxy-0")
        decision.await_ready()
        yield decision
    finally:
        decision.close()


def ask_together(port, path, bodies):
    """Send the requests in one piece; return their answers."""
    raw = b"".join(
        b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (path, len(body), body)
        for body in bodies
    )
    answers = []
    with socket.create_connection(("127.0.0.1", port), 60) as link, link.makefile("rb") as file:
        link.sendall(raw)
        for _ in bodies:
            status = int(file.readline().split()[1])
            size = 0
            while (line := file.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    size = int(value)
            answers.append((status, orjson.loads(file.read(size))))
    return answers


def body(answer, padding=0):
    return orjson.dumps({"data": {"answer": answer, "padding": "p" * padding}})


def test_a_large_request_gets_the_default_and_the_others_their_answers(decision):
    bodies = [body(1), body(2, padding=LIMIT), body(3), body(4)]
    found = ask_together(decision.port, b"/v1/decide", bodies)
    assert [status for status, _ in found] == [200] * 4
    assert [answer["result"] for _, answer in found] == ["x", "none", "xxx", "xxxx"]
    assert [answer["code"] for _, answer in found] == ["", "record_too_large", "", ""]
    counted = ProxyCounts(str(decision.directory))
    wait_until(lambda: counted.read(time.time_ns()).counts["too_large"])
    assert counted.read(time.time_ns()).counts["unwritten"] == 0, "the log is not to blame"


def test_a_large_result_is_an_error_and_the_others_are_answers(decision):
    bodies = [body(1), body(LIMIT), body(3)]
    found = ask_together(decision.port, b"/v1/decide", bodies)
    assert [answer["result"] for _, answer in found] == ["x", "none", "xxx"]
    assert found[1][1]["waited_ms"] < 15_000  # the model's error ends the wait
    scores = [orjson.loads(value) for _, value in decision.lines("scores", ["fast"])]
    (error,) = [score for score in scores if score["id"] == found[1][1]["id"]]
    assert error["code"] == "invalid_result"
    assert "above the limit of 20000" in error["error"]


def test_a_large_outcome_is_named_and_none_of_its_list_is_recorded(decision):
    before = len(decision.lines("outcomes"))
    told = [{"id": f"i{n}", "outcome": "o" * size} for n, size in enumerate([1, LIMIT, 1])]
    found = ask_together(decision.port, b"/v1/outcomes", [orjson.dumps(told), b"[]"])
    assert [status for status, _ in found] == [413, 202]
    assert found[0][1]["error"]["code"] == "outcome_too_large"
    assert found[0][1]["error"]["number"] == 1
    assert len(decision.lines("outcomes")) == before


def test_a_large_combined_answer_is_the_default_at_once_and_the_others_are_answers(decision):
    def merged(size):
        inline = {"data": {"answer": size, "listed": True}, "schedule": "merged"}
        return orjson.dumps(inline)

    large = LIMIT * 2 // 3
    found = ask_together(
        decision.port, b"/v1/decide", [merged(size) for size in (1, large, 2, large)]
    )
    assert [status for status, _ in found] == [200] * 4
    answers = [answer for _, answer in found]
    assert [a["result"] for a in answers] == [["x", "y"], ["none"], ["xx", "yy"], ["none"]]
    assert [a["code"] for a in answers] == ["", "record_too_large", "", "record_too_large"]
    assert answers[1]["answered_by"] == "server"
    assert answers[1]["waited_ms"] < 30_000  # half of the SLA: the answer does not wait for it
    stories = decision.stories()
    assert stories[answers[1]["id"]]["kind"] == "default"


def test_a_large_inline_combination_is_the_default_of_the_inline_schedule(decision):
    inline = {
        "sla_ms": 60_000,
        "default": {"of": "its own"},
        "step": [{"accept": ["fast", "gbm"], "need": 2, "combine": "topk", "top": 9}],
    }
    asked = {"data": {"answer": LIMIT * 2 // 3, "listed": True}, "schedule": inline}
    ((status, answer),) = ask_together(decision.port, b"/v1/decide", [orjson.dumps(asked)])
    assert (status, answer["result"]) == (200, {"of": "its own"})
    assert (answer["code"], answer["schedule"][:7]) == ("record_too_large", "inline@")
