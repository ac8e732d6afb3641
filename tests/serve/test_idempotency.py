"""Check `X-Request-Id` and `Idempotency-Key` over HTTP, in all stages, and across a SIGKILL."""

from __future__ import annotations

import threading

import orjson
import pytest
from running import MODELS, Client, Decision, write_decision
from serving import SLOW, serving
from waiting import wait_until

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.explain import explain, find_request
from rdv.stream import open_stream

STAGES = {"in_process": "run_in_process(sys.argv[1])", "direct": "run_direct(sys.argv[1], 'gbm')"}
REPLAYED = "Idempotency-Replayed"


def once(key):
    return {"Idempotency-Key": key}


@pytest.fixture(scope="module", params=STAGES)
def web(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("marks") / "fraud"
    port = write_decision(directory)
    (directory / "schedules" / "production.toml").write_text(SLOW)
    with serving(directory, port, STAGES[request.param]):
        yield port


@pytest.fixture
def client(web):
    with Client(web) as client:
        yield client


def test_a_repeat_gets_the_first_answer(client):
    first = client.post({"data": {}, "trace": True}, once('"one"'))
    assert (first[0], client.headers[REPLAYED]) == (200, None)
    for key in ('"one"', "one"):
        assert client.post({"data": {}, "trace": True}, once(key)) == first
        assert client.headers[REPLAYED] == "true"
    assert client.post({"data": {}, "trace": True})[1]["id"] != first[1]["id"]
    status, refused = client.post({"data": 1}, once("one"))
    assert (status, refused["error"]["code"]) == (422, "idempotency_key_reused")


def test_repeats_at_the_same_time_share_one_decision(web):
    answers = []

    def ask():
        with Client(web) as client:
            answer = client.post({"data": {"gbm": "sleep"}}, once("together"))
            answers.append((*answer, client.headers[REPLAYED]))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 8
    assert {status for status, _, _ in answers} == {200}
    assert len({answer["id"] for _, answer, _ in answers}) == 1
    assert [replayed for _, _, replayed in answers].count(None) == 1


def test_a_client_that_left_finds_its_answer(web):
    with Client(web) as client:
        body = orjson.dumps({"data": {"gbm": "sleep"}})
        client._connection.request("POST", "/v1/decide", body, once("left"))
    with Client(web) as client:
        answer = client.post(body, once("left"))
        assert answer[0] == 200
        assert client.post(body, once("left")) == answer
        assert client.headers[REPLAYED] == "true"


def test_a_refusal_is_not_remembered(client):
    assert client.post({"data": {}, "schedule": "none"}, once("again"))[0] == 422
    assert client.post({"data": {}}, once("again"))[0] == 200
    assert client.headers[REPLAYED] is None


def test_the_clients_own_id_comes_back_with_every_answer(client):
    mine = {"X-Request-Id": "trace-4bf92f:7"}
    for body, status in (({"data": {}}, 200), ({"dta": {}}, 400), (b"{", 400)):
        assert client.post(body, mine)[0] == status
        assert client.headers["X-Request-Id"] == "trace-4bf92f:7"
    both = {**once("own"), **mine}
    assert client.post({"data": {}}, both)[0] == 200
    assert client.post({"data": {}}, {**both, "X-Request-Id": "the-repeat"})[0] == 200
    assert (client.headers["X-Request-Id"], client.headers[REPLAYED]) == ("the-repeat", "true")
    client._connection.request("GET", "/nowhere", headers=mine)
    response = client._connection.getresponse()
    assert (response.read(), response.status)[1] == 404
    assert response.headers["X-Request-Id"] == "trace-4bf92f:7"
    assert client.post({"data": {}})[0] == 200
    assert client.headers["X-Request-Id"] is None


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-Request-Id": "x" * 129}, "invalid_request_id"),
        ({"X-Request-Id": "two words"}, "invalid_request_id"),
        ({"X-Request-Id": ""}, "invalid_request_id"),
        ({"Idempotency-Key": ""}, "invalid_idempotency_key"),
        ({"Idempotency-Key": "k" * 256}, "invalid_idempotency_key"),
        ({"Idempotency-Key": "a, b"}, "invalid_idempotency_key"),
    ],
)
def test_marks_that_cannot_be_used_are_named(client, headers, code):
    status, answer = client.post({"data": {}}, headers)
    assert (status, answer["error"]["code"]) == (400, code)


def test_outcomes_accept_an_idempotency_key(client):
    def tell(body, key):
        raw = orjson.dumps(body)
        headers = {"Content-Type": "application/json", **once(key)}
        client._connection.request("POST", "/v1/outcomes", raw, headers)
        response = client._connection.getresponse()
        return response.status, orjson.loads(response.read()), response.headers[REPLAYED]

    one = {"id": "i", "outcome": 1}
    assert tell(one, "o") == (202, {"accepted": 1}, None)
    assert tell(one, "o") == (202, {"accepted": 1}, "true")
    assert tell([one], "o")[1]["error"]["code"] == "idempotency_key_reused"
    # The same key on another path counts as another key.
    assert client.post({"data": {}}, once("o"))[0] == 200


def test_a_client_with_too_many_idempotency_keys_is_refused(tmp_path):
    port = write_decision(tmp_path / "fraud", http="idempotency_keys_max = 10")
    with serving(tmp_path / "fraud", port), Client(port) as client:
        found = [client.post({"data": {}}, once(f"k{n}")) for n in range(8)]
        assert [status for status, _ in found] == [200] * 5 + [429] * 3
        assert found[-1][1]["error"]["code"] == "too_many_idempotency_keys"
        assert int(client.headers["Retry-After"]) >= 1
        assert client.post({"data": {}}, once("k0")) == found[0]
        assert client.post({"data": {}})[0] == 200


def test_it_can_be_switched_off(tmp_path):
    port = write_decision(tmp_path / "fraud", http="idempotency_ms = 0")
    with serving(tmp_path / "fraud", port), Client(port) as client:
        ids = {client.post({"data": {}}, once("k"))[1]["id"] for _ in range(2)}
    assert len(ids) == 2


def test_a_killed_proxy_finds_in_the_log_what_it_has_answered_and_what_it_owes(tmp_path):
    directory = tmp_path / "fraud"
    decision = Decision(directory, write_decision(directory))
    toml = directory / "rdv.toml"
    toml.write_text(f"partitions = 2\n{toml.read_text()}")
    (directory / "schedules" / "production.toml").write_text(SLOW)
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        keyed = {**once("answered"), "X-Request-Id": "mine"}
        with Client(decision.port) as client:
            asked = [{"data": {"n": n}, "key": f"user-{n}", "trace": True} for n in range(10)]
            first = [client.post(one, once(f"k{n}")) for n, one in enumerate(asked)]
            answered = client.post({"data": {"n": 1}}, keyed)
            # This request stays open: its model is stopped, and its SLA is long.
            decision.signal("gbm", 19)
            with Client(decision.port) as other:
                raw = orjson.dumps({"data": {"n": 2}})
                other._connection.request("POST", "/v1/decide", raw, once("open"))
                client.post({"data": {}, "deadline_ms": 1})
            lines = [orjson.loads(line) for _, line in decision.lines("input")]
            (open_id,) = [x["id"] for x in lines if x.get("idempotency", {}).get("key") == "open"]
        decision.kill("proxy-0")
        decision.restart("proxy-0")
        decision.signal("gbm", 18)
        with Client(decision.port) as client:
            again = [client.post(one, once(f"k{n}")) for n, one in enumerate(asked)]
            assert client.headers[REPLAYED] == "true"
            for (status, before), (found, after) in zip(first, again, strict=True):
                assert (status, found) == (200, 200)
                assert before.pop("waited_ms") >= after.pop("waited_ms") - 1
                assert before == after
            repeated = client.post({"data": {"n": 1}}, keyed)[1]
            assert repeated["id"] == answered[1]["id"]
            assert client.headers["X-Request-Id"] == "mine"
            refused = client.post({"data": {"n": 3}}, once("answered"))
            assert (refused[0], refused[1]["error"]["code"]) == (422, "idempotency_key_reused")
            attached = client.post(orjson.dumps({"data": {"n": 2}}), once("open"))[1]
            assert attached["id"] == open_id
            assert attached["kind"] == "preferred"
        ids = [orjson.loads(line)["id"] for _, line in decision.lines("input")]
        assert len(ids) == len(set(ids)) == 13
        with Recorded(str(directory)) as recorded:
            story = explain(recorded, find_request(recorded, repeated["id"])).as_json()
        assert story["request"]["x_request_id"] == "mine"
        assert story["request"]["idempotency"]["client"] == "127.0.0.1"
    finally:
        decision.close()


def test_a_killed_proxy_knows_requests_with_several_rows_again(tmp_path):
    directory = tmp_path / "fraud"
    decision = Decision(directory, write_decision(directory))
    toml = directory / "rdv.toml"
    toml.write_text(f"partitions = 2\n{toml.read_text()}")
    (directory / "schedules" / "production.toml").write_text(SLOW)

    def rows(first, count, **more):
        asked = [{"data": {"n": first + n}, "key": f"user-{n}"} for n in range(count)]
        return orjson.dumps({"rows": asked, **more})

    def keyed(name):
        return [x["id"] for x in map(orjson.loads, lines("input"))
                if x.get("idempotency", {}).get("key") == name]  # fmt: skip

    def lines(stream):
        return [line for _, line in decision.lines(stream)]

    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        with Client(decision.port) as client:
            before = client.post(rows(0, 7, trace=True), once("seven"))
            single = client.post(rows(50, 1), once("one-of-one"))
            # Some rows of this request stay open: their model is stopped.
            decision.signal("gbm", 19)
            with Client(decision.port) as other:
                other._connection.request("POST", "/v1/decide", rows(20, 3), once("open"))
                client.post({"data": {}, "deadline_ms": 1})
                wait_until(lambda: len(keyed("open")) == 3)
        decision.kill("proxy-0")
        # As if a kill had cut the batch off: one of three rows is in the log.
        line = next(line for line in lines("input") if b'"one-of-one"' in line)
        one = orjson.loads(line)
        one["id"] = "0" * 31 + "7"
        one["idempotency"] |= {"key": "cut-off", "rows": 3, "batch": "another"}
        with open_stream(str(directory / "input")) as stream, stream.producer() as producer:
            producer.send("proxy-0", orjson.dumps(one), partition=0)
        decision.restart("proxy-0")
        decision.signal("gbm", 18)
        with Client(decision.port) as client:
            for asked, (_, answer), name in (
                (rows(0, 7, trace=True), before, "seven"),
                (rows(50, 1), single, "one-of-one"),
            ):
                status, again = client.post(asked, once(name))
                assert (status, client.headers[REPLAYED]) == (200, "true")
                for mine, theirs in zip(answer["answers"], again["answers"], strict=True):
                    assert mine.pop("waited_ms") >= theirs.pop("waited_ms") - 1
                    assert mine == theirs
            refused = client.post(rows(1, 7), once("seven"))
            assert (refused[0], refused[1]["error"]["code"]) == (422, "idempotency_key_reused")
            status, attached = client.post(rows(20, 3), once("open"))
            assert status == 200
            assert sorted(one["id"] for one in attached["answers"]) == sorted(keyed("open"))
            assert [one["kind"] for one in attached["answers"]] == ["preferred"] * 3
            status, anew = client.post(rows(70, 3), once("cut-off"))
            assert status == 200
            assert REPLAYED not in client.headers
            assert len(anew["answers"]) == 3
        ids = [orjson.loads(line)["id"] for line in lines("input")]
        assert len(ids) == len(set(ids))
    finally:
        decision.close()
