"""Check models behind HTTP with servers on real sockets, which answer well, badly, or never."""

from __future__ import annotations

import gzip
import json
import socket
import time

import pytest
from model_server import ModelServer, http_answer, predictions, scores
from ports import free_port
from waiting import wait_until

from rdv.decision import ModelConfig
from rdv.decision.remote import Remote
from rdv.models import ModelError, ModelNotLoaded, trouble_of
from rdv.models.remote import RemoteModel, check_server

ROWS = [b'{"x":1}', b'{"x":2}', b'{"x":3}']


def values(*urls, protocol="json", **remote):
    return ModelConfig(http=list(urls), protocol=protocol, remote=Remote(**remote)).remote_values()


@pytest.fixture
def server():
    with ModelServer() as server:
        yield server


@pytest.fixture
def opened():
    """Open models, which are closed at the end."""
    models = []

    def make(*urls, timeout_ms=5_000, environ=None, version="", **remote):
        model = RemoteModel(
            "m",
            values(*urls, **remote),
            version=version,
            predict_timeout_ms=timeout_ms,
            environ=environ or {},
        )
        models.append(model)
        return model

    yield make
    for model in models:
        model.close()
        model.close()


def reasons(outcomes):
    assert all(isinstance(one, ModelError) for one in outcomes), outcomes
    return [one.reason for one in outcomes]


def test_a_batch_is_one_request_on_a_connection_that_is_kept(server, opened):
    model = opened(f"{server.url}/score?k=1")
    for _ in range(5):
        assert model.predict(ROWS) == [b"2", b"4", b"6"]
    assert (len(server.asked), server.connections) == (5, 1)
    assert server.asked[0].head.startswith("POST /score?k=1 HTTP/1.1\r\nHost: 127.0.0.1:")


def test_large_batches_and_answers_pass_through_full_buffers(server, opened):
    rows = [b'{"x":"%s"}' % (b"z" * 100_000)] * 50
    server.behaviour = lambda asked: asked.answer(predictions(*(row["x"] for row in asked.rows)))
    assert opened(server.url).predict(rows) == [b'"%s"' % (b"z" * 100_000)] * 50


ANSWERS = [
    (http_answer(b"[1, 2, 3]"), [b"1", b"2", b"3"]),
    (http_answer(b"[1,2,3]", version="1.0"), [b"1", b"2", b"3"]),
    (b"HTTP/1.0 200 OK\r\n\r\n[1,2,3]", [b"1", b"2", b"3"]),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[1,2\r\n3\r\n,3]\r\n0\r\n\r\n",
     [b"1", b"2", b"3"]),
    (http_answer(gzip.compress(b"[1,2,3]", mtime=0), headers=("Content-Encoding: gzip",)),
     [b"1", b"2", b"3"]),
    (http_answer(
        gzip.compress(b"[1,", mtime=0) + gzip.compress(b"2,3]", mtime=0),
        headers=("Content-Encoding: gzip",),
     ), [b"1", b"2", b"3"]),
    (http_answer(b"\xef\xbb\xbf[1,2,3]"), [b"1", b"2", b"3"]),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + http_answer(b"[1,2,3]"), [b"1", b"2", b"3"]),
    (http_answer(b'{"predictions":[{"a":[1]},"t",false],"version":7}'),
     [b'{"a":[1]}', b'"t"', b"false"]),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "found"), ANSWERS, ids=range(len(ANSWERS)))
def test_every_form_of_an_answer_is_read(server, opened, answer, found):
    def reply(asked):
        asked.send(answer)
        if b"HTTP/1.0 200 OK\r\n\r\n" in answer:
            asked.close()

    server.behaviour = reply
    model = opened(server.url)
    assert [model.predict(ROWS) for _ in range(3)] == [found] * 3
    server.behaviour = scores
    assert model.predict(ROWS) == [b"2", b"4", b"6"]


BAD = [
    (http_answer(b"this is not JSON"), "not JSON, it begins with 'this is not JSON'"),
    (http_answer(b"<html>\x1b[31m\n"), "it begins with '<html>\ufffd[31m'"),
    (http_answer(b""), "its answer is empty"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", "answer is empty"),
    (http_answer(b"null"), "cannot be read"),
    (http_answer(b"[" * 100_000), "it begins with '[[["),
    (http_answer(b"[1,2]"), "2 predictions for 3 rows"),
    (http_answer(b'{"outputs":[1,2,3]}'), "has no 'predictions': it has outputs"),
    (http_answer(b'{"predictions":{"a":1}}'), "cannot be read"),
    (http_answer(b"[1,2,3]", headers=("Content-Encoding: br",)), "unknown coding 'br'"),
    (http_answer(b"no", headers=("Content-Encoding: gzip",)), "cannot be decompressed"),
    (http_answer(gzip.compress(b"[1,2,3]")[:-9], headers=("Content-Encoding: gzip",)), "complete"),
    (http_answer(gzip.compress(b" " * 10**7), headers=("Content-Encoding: gzip",)), "more than"),
    (http_answer(b"x" * 200_000), "more than 100000 bytes"),
    (b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 20_000, "the head of its answer"),
    (b"220 mail.example ESMTP\r\n", "is not HTTP"),
    (http_answer(b"", "302 Found", ("Location: /login",)), "it redirects to /login"),
    (b"HTTP/1.1 304 Not Modified\r\n\r\n", "304 Not Modified"),
    (http_answer(b'{"detail":"no token"}', "401 Unauthorized"), "401 Unauthorized: no token"),
    (http_answer(b"", "503 Service Unavailable"), "503 Service Unavailable"),
    (http_answer(b"", "599 Odd"), "599 (unknown)"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "says"), BAD, ids=[says for _, says in BAD])
def test_a_bad_answer_is_an_error_of_its_batch_only(server, opened, answer, says):
    server.behaviour = lambda asked: asked.send(answer)
    model = opened(server.url, answer_bytes_max=100_000)
    for reason in reasons(model.predict(ROWS)):
        assert says in reason
    server.behaviour = scores
    assert model.predict(ROWS) == [b"2", b"4", b"6"]


def test_nan_is_an_error_of_its_row(server, opened):
    server.behaviour = lambda asked: asked.answer(
        predictions(1, float("nan"), {"a": 2}, version="v")
    )
    one, two, three = opened(server.url).predict(ROWS)
    assert (one, three) == (b"1", b'{"a":2}')
    assert (two.cause, "NaN" in two.reason or "nan" in two.reason) == ("result", True)


def test_a_row_that_is_refused_spoils_no_other(server, opened):
    def reply(asked):
        if any(row["x"] == 13 for row in asked.rows):
            asked.answer(b'{"detail":"13 is out of range"}', "422 Unprocessable Entity")
        else:
            scores(asked)

    server.behaviour = reply
    model = opened(server.url)
    found = model.predict([b'{"x":%d}' % n for n in range(16)])
    assert [n for n, one in enumerate(found) if isinstance(one, ModelError)] == [13]
    assert "422 Unprocessable Entity: 13 is out of range" in found[13].reason
    assert found[12] == b"24"
    assert not trouble_of(model).code


def test_a_server_that_refuses_all_rows_is_not_asked_for_each_of_them(server, opened):
    server.behaviour = lambda asked: asked.answer(b"no", "500 Internal Server Error")
    model = opened(server.url)
    assert set(reasons(model.predict([b'{"x":1}'] * 256))) == {"500 Internal Server Error: no"}
    assert len(server.asked) <= 40


def test_nothing_is_asked_twice_without_leave(server, opened):
    server.behaviour = lambda asked: asked.answer(b"no", "500 Internal Server Error")
    model = opened(server.url, hedge=False)
    assert len(reasons(model.predict(ROWS))) == 3
    assert len(server.asked) == 1


def test_a_connection_that_the_server_has_closed_meanwhile_is_no_error(server, opened):
    model = opened(server.url)
    assert model.predict(ROWS) == [b"2", b"4", b"6"]

    def closes(asked):
        scores(asked)
        asked.close()

    server.behaviour = closes
    for _ in range(10):
        assert model.predict(ROWS) == [b"2", b"4", b"6"]


@pytest.mark.parametrize("hedge", [True, False])
def test_a_request_on_a_stale_connection_is_sent_again_only_where_that_is_allowed(
    server, opened, hedge
):
    model = opened(server.url, hedge=hedge)
    model.predict(ROWS)
    server.behaviour = lambda asked: asked.close()  # it has read the request, and does not answer

    def once(asked):
        server.behaviour = scores
        asked.close()

    server.behaviour = once
    found = model.predict(ROWS)
    assert (found == [b"2", b"4", b"6"]) == hedge
    assert len(server.asked) == (3 if hedge else 2)


def test_what_follows_an_answer_unasked_is_not_taken_for_the_next_one(server, opened):
    server.behaviour = lambda asked: asked.send(http_answer(b"[1,2,3]") + http_answer(b"[7,8,9]"))
    model = opened(server.url)
    assert [model.predict(ROWS) for _ in range(3)] == [[b"1", b"2", b"3"]] * 3


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_a_time_limit_holds_for_the_whole_exchange(server, opened, kind):
    def drip(asked):
        for byte in http_answer(b"[1,2,3]" + b" " * 1000):
            asked.send(bytes([byte]))
            time.sleep(0.02)

    server.behaviour = (lambda asked: asked.hang()) if kind == "hang" else drip
    model = opened(server.url, timeout_ms=300)
    (outcome,) = {one.cause for one in model.predict(ROWS)}
    assert outcome == "timeout"
    server.behaviour = scores
    assert model.predict(ROWS) == [b"2", b"4", b"6"]


def test_ipv6_and_a_name_with_several_addresses(opened):
    with ModelServer(family=socket.AF_INET6) as server:
        assert opened(server.url).predict(ROWS) == [b"2", b"4", b"6"]
    with ModelServer() as server:  # localhost is ::1 first on many machines: refused there
        assert opened(f"http://localhost:{server.port}").predict(ROWS) == [b"2", b"4", b"6"]


def test_a_server_that_is_not_there_is_no_error_of_the_start_and_is_found_later(opened):
    port = free_port()
    model = opened(f"http://127.0.0.1:{port}")
    for reason in reasons(model.predict(ROWS)):
        assert "Connection refused" in reason
    for _ in range(8):
        model.predict(ROWS)
    trouble = trouble_of(model)
    assert trouble.code == "unavailable"
    assert f"http://127.0.0.1:{port}: cannot connect: Connection refused" in trouble.text


def test_a_name_that_does_not_exist(opened):
    model = opened("http://nosuchhost.invalid")
    for reason in reasons(model.predict(ROWS)):
        assert "nosuchhost.invalid" in reason


def test_a_breaker_opens_and_closes_again(server, opened):
    server.behaviour = lambda asked: asked.answer(b"", "503 Service Unavailable")
    model = opened(server.url)
    for _ in range(20):
        model.predict(ROWS)
    asked = len(server.asked)
    assert asked < 10
    assert "503 Service Unavailable" in trouble_of(model).text
    server.behaviour = scores
    end_s = time.monotonic() + 30
    while model.predict(ROWS) != [b"2", b"4", b"6"]:
        assert time.monotonic() < end_s
    assert not trouble_of(model).code


def test_retry_after_is_kept(server, opened):
    server.behaviour = lambda asked: asked.answer(
        b"", "429 Too Many Requests", ("Retry-After: 25",)
    )
    model = opened(server.url)
    model.predict(ROWS)
    model.predict(ROWS)
    assert len(server.asked) == 1
    assert "asked again in 2" in trouble_of(model).text


def test_another_replica_takes_over_from_one_that_fails(opened):
    with ModelServer(lambda asked: asked.close()) as bad, ModelServer() as good:
        model = opened(bad.url, good.url)
        assert [model.predict(ROWS) for _ in range(30)] == [[b"2", b"4", b"6"]] * 30
        assert 1 <= len(bad.asked) <= 10


def test_a_second_replica_is_asked_when_the_first_is_slow_and_the_first_is_cancelled(opened):
    with ModelServer() as one, ModelServer() as other:
        model = opened(one.url, other.url, hedge_share=0.5)
        for _ in range(40):
            model.predict(ROWS)
        ended = []

        def slow(asked):
            asked.hang()
            ended.append(asked)

        one.behaviour = slow
        for _ in range(4):
            assert model.predict(ROWS) == [b"2", b"4", b"6"]
        wait_until(lambda: ended, "no slow request was cancelled")


def test_batches_overlap_and_a_slow_one_holds_up_no_other(server, opened):
    release = []

    def reply(asked):
        if asked.rows[0]["x"] == 99:
            while not release:
                time.sleep(0.005)
        scores(asked)

    server.behaviour = reply
    model = opened(server.url)
    far_ns = time.monotonic_ns() + 60 * 10**9
    model.submit("slow", [b'{"x":99}'], far_ns, far_ns)
    for number in range(20):
        model.submit(number, [b'{"x":%d}' % number], far_ns, far_ns)
    found = []
    while len(found) < 20:
        found += model.collect()
    assert {one.key for one in found} == set(range(20))
    assert all(one.outcomes == [b"%d" % (2 * one.key)] for one in found)
    release.append(True)
    while not (found := model.collect()):
        pass
    assert (found[0].key, found[0].outcomes) == ("slow", [b"198"])


def test_secrets_come_from_the_environment_and_are_shown_nowhere(server, opened, caplog):
    model = opened(
        server.url,
        token_env="TOKEN",
        headers_env={"X-Key": "KEY"},
        environ={"TOKEN": "s3cret", "KEY": "hidden"},
    )
    server.behaviour = lambda asked: asked.answer(b"", "403 Forbidden")
    for _ in range(10):
        said = str(model.predict(ROWS))
    assert "Authorization: Bearer s3cret\r\n" in server.asked[0].head
    assert "X-Key: hidden\r\n" in server.asked[0].head
    shown = said + caplog.text + str(trouble_of(model))
    assert "403 Forbidden" in shown
    assert "s3cret" not in shown
    assert "hidden" not in shown
    with pytest.raises(ModelNotLoaded, match="the variable TOKEN for the header Authorization"):
        opened(server.url, token_env="TOKEN")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://a", "is not http://"),
        ("http://", "names no host"),
        ("http://a:99999", "not an address"),
        ("http://u:p/w@a", "not an address: its host or port cannot be read"),
        ("http://u:p@a", "password"),
        ("http://a/ b", "visible ASCII"),
        ("http://a#b", "no meaning"),
    ],
)
def test_addresses_that_cannot_be_used(opened, url, says):
    with pytest.raises(ModelNotLoaded, match=says):
        opened(url)


def test_the_version_comes_with_the_answers_and_a_change_is_logged(server, opened, caplog):
    server.behaviour = lambda asked: asked.answer(predictions(1, 2, 3, model_version="7"))
    model = opened(server.url, version="gbm")
    model.predict(ROWS)
    assert model.version == "gbm@7"
    server.behaviour = lambda asked: asked.answer(b"[1,2,3]", headers=("X-Model-Version: 8",))
    model.predict(ROWS)
    assert model.version == "gbm@8"
    assert "version gbm@7 → gbm@8" in caplog.text
    strange = predictions(1, 2, 3, model_version="9\x1b[31m\nrdv: \u202efine" + "x" * 1000)
    server.behaviour = lambda asked: asked.answer(strange)
    model.predict(ROWS)
    assert model.version.startswith("gbm@9\ufffd[31m rdv: \ufffdfinexxx")
    assert len(model.version) < 250


def tf_server(asked):
    if asked.head.startswith("GET /base/v1/models/m "):
        states = [("3", "AVAILABLE"), ("10", "AVAILABLE"), ("11", "LOADING")]
        status = [{"version": version, "state": state} for version, state in states]
        asked.answer(json.dumps({"model_version_status": status}).encode())
    elif asked.head.startswith("POST /base/v1/models/m:predict "):
        asked.answer(predictions(*(row["x"] for row in json.loads(asked.body)["instances"])))
    else:
        asked.answer(b'{"error":"no such model"}', "404 Not Found")


def test_tensorflow_serving(server, opened):
    server.behaviour = tf_server
    model = opened(f"{server.url}/base/", protocol="tfserving")
    assert model.version == "10"
    assert model.predict(ROWS) == [b"1", b"2", b"3"]
    check_server("m", values(f"{server.url}/base", protocol="tfserving"), {})
    with pytest.raises(ModelNotLoaded, match="404 Not Found: no such model"):
        check_server("n", values(f"{server.url}/base", protocol="tfserving"), {})


def test_metadata_that_is_not_there_at_the_start_is_asked_for_again(server, opened):
    server.behaviour = lambda asked: asked.answer(b"starting", "503 Service Unavailable")
    model = opened(server.url, protocol="oip")
    assert "starting" in trouble_of(model).text
    server.behaviour = oip_server
    assert model.predict(ROWS) == [b"2.0", b"4.0", b"6.0"]
    assert model.version == "v3"


def oip_server(asked):
    if asked.head.startswith("GET"):
        inputs = [{"name": "x", "datatype": "FP64", "shape": [-1, 1]}]
        asked.answer(json.dumps({"name": "m", "versions": ["v3"], "inputs": inputs}).encode())
        return
    (tensor,) = json.loads(asked.body)["inputs"]
    data = [2.0 * value for value in tensor["data"]]
    output = {"name": "y", "datatype": "FP64", "shape": tensor["shape"], "data": data}
    asked.answer(json.dumps({"model_version": "v3", "outputs": [output]}).encode())


def test_the_check_says_what_the_server_says(server):
    check_server("m", values(server.url), {})
    with pytest.raises(ModelNotLoaded, match="Connection refused"):
        check_server("m", values(f"http://127.0.0.1:{free_port()}"), {})
    server.behaviour = lambda asked: asked.hang()
    with pytest.raises(ModelNotLoaded, match="no answer within"):
        check_server("m", values(server.url, protocol="mlflow"), {}, timeout_s=0.2)
