"""Check that a real proxy records outcomes (`POST /v1/outcomes`) before it acknowledges them."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import signal

import orjson
import pytest
from running import Decision, write_decision

from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import read_outcomes as recorded_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.clock import SYSTEM_CLOCK
from rdv.http import Failure
from rdv.serve.outbox import Outbox
from rdv.serve.proxy.outcomes import OUTCOMES_MAX, OutcomeHandler, read_outcomes
from rdv.stream import open_stream
from rdv.stream.errors import DiskFull


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    directory = tmp_path_factory.mktemp("outcomes") / "fraud"
    decision = Decision(directory, write_decision(directory, http="body_bytes_max = 200000"))
    try:
        decision.start("proxy-0")
        decision.await_ready()
        yield decision
    finally:
        decision.close()


def tell(decision, body, content_type="application/json"):
    connection = http.client.HTTPConnection("127.0.0.1", decision.port, timeout=60)
    try:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        connection.request("POST", "/v1/outcomes", raw, {"Content-Type": content_type})
        response = connection.getresponse()
        return response.status, orjson.loads(response.read())
    finally:
        connection.close()


def told(decision):
    return [orjson.loads(value) for _, value in decision.lines("outcomes", [proxy_topic(decision)])]


def proxy_topic(decision):
    return f"p-{decision.port}"


def test_what_is_acknowledged_is_on_record(proxy):
    assert tell(proxy, {"id": "one", "outcome": {"label": "fraud"}}) == (202, {"accepted": 1})
    assert told(proxy)[-1] == {
        "v": 1,
        "id": "one",
        "outcome": {"label": "fraud"},
        "source": "127.0.0.1",
    }
    many = [{"id": f"m{n}", "outcome": n, "time": "2025-11-22"} for n in range(OUTCOMES_MAX)]
    assert tell(proxy, many) == (202, {"accepted": OUTCOMES_MAX})
    lines = told(proxy)[-OUTCOMES_MAX:]
    assert [line["id"] for line in lines] == [item["id"] for item in many]
    assert {line["time_ns"] for line in lines} == {1_763_769_600 * 10**9}
    # The next outcome follows the others: kill -9 loses none of them.
    assert tell(proxy, {"id": "one", "outcome": None, "time": 2**60}) == (202, {"accepted": 1})
    proxy.kill("proxy-0")
    proxy.restart("proxy-0")
    with Recorded(str(proxy.directory)) as recorded:
        found = recorded_outcomes(recorded, Notes())
        assert len(found) == OUTCOMES_MAX + 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"id": "i", "outcome": 1e999}', 422, "number_out_of_range"),
        (b'[{"id": "i", "outcome": 18446744073709551616}]', 422, "number_out_of_range"),
        (b'{"id": "i", "outcome": "\\ud800"}', 400, "malformed_json"),
        (b'{"id": "i", "outcome": ' + b"[" * 100_000, 422, "nested_too_deeply"),
        (b'{"id": "i", "outcome": ' + b"[" * 101 + b"]" * 101 + b"}", 422, "nested_too_deeply"),
        (b' [{"id": "i", "outcome": ' + b"[" * 101 + b"]" * 101 + b"}]", 422, "nested_too_deeply"),
        (b'{"id": "i", "outcome": ' + b"[" * 255 + b"]" * 255 + b"}", 422, "nested_too_deeply"),
        (b'{"id": "i", "outcome": "\xff"}', 400, "malformed_json"),
        (b"1", 400, "invalid_request"),
        ({"id": "i"}, 400, "invalid_request"),
        ({"outcome": 1}, 400, "invalid_request"),
        ({"id": "", "outcome": 1}, 400, "invalid_request"),
        ({"id": "i" * 65, "outcome": 1}, 400, "invalid_request"),
        ({"id": "i\0", "outcome": 1}, 400, "invalid_request"),
        ({"id": "i\n", "outcome": 1}, 400, "invalid_request"),
        ({"id": "i j", "outcome": 1}, 400, "invalid_request"),
        ({"id": " ", "outcome": 1}, 400, "invalid_request"),
        ({"id": "\u200bi", "outcome": 1}, 400, "invalid_request"),
        ({"id": "i", "outcome": 1, "tme": 2}, 400, "invalid_request"),
        ({"id": "i", "outcome": 1, "time": -1}, 422, "invalid_time"),
        ({"id": "i", "outcome": 1, "time": 2**62}, 422, "invalid_time"),
        (b'{"id":"i","outcome":1,"time":1%b}' % (b"0" * 30), 422, "number_out_of_range"),
        ({"id": "i", "outcome": 1, "time": 1_777_638_600}, 422, "invalid_time"),
        ({"id": "i", "outcome": 1, "time": 1_777_638_600_000}, 422, "invalid_time"),
        ({"id": "i", "outcome": 1, "time": "1777638600"}, 422, "invalid_time"),
        ({"id": "i", "outcome": 1, "time": "1969-12-31T23:59:59Z"}, 422, "invalid_time"),
        ({"id": "i", "outcome": 1, "time": "2263-01-01"}, 422, "invalid_time"),
        ({"id": "i", "outcome": 1, "time": "9999-12-31T23:59:59+14:00"}, 422, "invalid_time"),
        ({"id": "i", "outcome": 1, "time": 1.5}, 400, "invalid_request"),
        ({"id": "i", "outcome": 1, "time": "soon"}, 422, "invalid_time"),
        ([{"id": "i", "outcome": 1}, {"id": "j", "outcome": 1, "time": "x"}], 422, "invalid_time"),
        ([{"id": "i", "outcome": 1}] * (OUTCOMES_MAX + 1), 413, "too_many_outcomes"),
        ({"id": "i", "outcome": "x" * 200_000}, 413, "body_too_large"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_recorded(proxy, body, status, code):
    before = len(proxy.lines("outcomes"))
    found, answer = tell(proxy, body)
    assert (found, answer["error"]["code"]) == (status, code)
    assert answer["error"]["message"]
    assert len(proxy.lines("outcomes")) == before


def test_other_media_types_and_methods(proxy):
    body = {"id": "i", "outcome": 1}
    assert tell(proxy, body, "text/xml")[0] == 415
    assert tell(proxy, body, "application/x-www-form-urlencoded")[0] == 202
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/v1/outcomes")
        assert connection.getresponse().status == 405


@pytest.mark.parametrize("around", [b"%b", b"[%b]", b" \r\n\t[%b]"])
def test_an_outcome_may_be_nested_as_deep_as_any_json(proxy, around):
    outcome = b"[" * 100 + b"]" * 100
    assert tell(proxy, around % (b'{"id": "deep", "outcome": %b}' % outcome))[0] == 202


def test_a_list_of_none_is_accepted(proxy):
    assert tell(proxy, []) == (202, {"accepted": 0})


def test_a_stopped_writer_of_the_command_line_does_not_hold_up_the_proxy(proxy):
    """Each has a topic of its own, so that a held lock of one does not delay the other."""
    file = proxy.directory / "outcomes" / "cli" / "0"
    with open_stream(str(proxy.directory / "outcomes")) as stream, stream.producer() as producer:
        producer.send("cli", b'{"v":1,"id":"c","outcome":1}\n')
        with (file / "lock").open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert tell(proxy, {"id": "i", "outcome": 1})[0] == 202


class Exchange:
    """A stand-in for an HTTP exchange keeps the answer to its request."""

    def __init__(self, body):
        self.body = body

    json_fault, client = None, "10.0.0.7"

    def respond(self, status, body):
        self.status, self.answer = status, body

    def fail(self, failure):
        self.status, self.answer = failure.status, failure.code


class Full:
    def send_many(self, topic, values, *, partition, wait_ms):
        raise DiskFull("outcomes", "write")


def test_a_full_disk_is_said_and_nothing_is_acknowledged():
    exchange = Exchange(b'{"id": "i", "outcome": 1}')
    outbox = Outbox(Full(), SYSTEM_CLOCK, "outcomes", keep_ms=0)
    OutcomeHandler(outbox, "p-1", lambda: False, print, 1_000).accept(exchange)
    assert (exchange.status, exchange.answer) == (503, "not_logged")
    OutcomeHandler(outbox, "p-1", lambda: True, print, 1_000).accept(exchange)
    assert (exchange.status, exchange.answer) == (503, "draining")


def test_bodies_that_are_read():
    now_ns = 1_777_638_600 * 10**9
    given = b'{"id": "i", "outcome": [1, {"a": 2}], "time": 1777638600000000000}'
    (truth,) = read_outcomes(given, now_ns)
    assert (truth.id, bytes(truth.outcome), truth.time_ns) == ("i", b'[1, {"a": 2}]', now_ns)
    assert isinstance(read_outcomes(b"null", now_ns), Failure)
    (truth,) = read_outcomes(b'{"id": " %b ", "outcome": 1}' % (b"0AF" * 11)[:32], now_ns)
    assert truth.id == ("0af" * 11)[:32]


def test_an_orderly_stop_keeps_reported_outcomes(proxy):
    assert tell(proxy, {"id": "last", "outcome": 1})[0] == 202
    proxy.signal("proxy-0", signal.SIGTERM)
    assert proxy.processes.pop("proxy-0").wait(60) == 0
    assert told(proxy)[-1]["id"] == "last"
    proxy.start("proxy-0")
    proxy.await_ready()
