"""Check `rdv.Client` and `rdv.AsyncClient` against servers that misbehave."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import os
import pickle
import threading
import time
import warnings
from datetime import datetime

import numpy as np
import orjson
import pytest
from ports import free_port
from scripted import ANSWER, Scripted, dripping, fine, refusal, reply, silent

import rdv

TOKEN = "very-secret-token"


class Awaited:
    """Makes the calls of an AsyncClient, each to its end, with the methods of a Client."""

    def __init__(self, *arguments, **named) -> None:
        self._runner = asyncio.Runner()
        self._client = rdv.AsyncClient(*arguments, **named)

    def __getattr__(self, name):
        method = getattr(self._client, name)
        return lambda *arguments, **named: self._runner.run(method(*arguments, **named))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._runner.run(self._client.aclose())
        self._runner.close()


@pytest.fixture(params=[rdv.Client, Awaited], ids=["sync", "async"])
def kind(request):
    return request.param


def test_an_answer_is_a_frozen_value(kind):
    traced = fine(trace=[{"model": "gbm", "arrived_ms": 1.2, "outcome": "result"}], new_field=1)
    with Scripted(traced) as server, kind(server.url + "/") as client:
        answer = client.decide({"amount": np.float32(1.5), "n": np.int64(2)}, key=42, trace=True)
    assert (answer.answer, answer.id, answer.kind, answer.model) == (
        {"score": 0.5}, "00ff", "preferred", "gbm",
    )  # fmt: skip
    assert answer.is_preferred
    assert not answer.is_default
    assert answer.trace[0].model == "gbm"
    assert "gbm" in answer._repr_html_()
    assert "preferred" in answer._repr_html_()
    with pytest.raises(AttributeError):
        answer.kind = "default"
    head, body = server.requests[0]
    assert head.startswith("POST /v1/decide HTTP/1.1\r\n")
    assert orjson.loads(body) == {"data": {"amount": 1.5, "n": 2}, "key": "42", "trace": True}


def test_html_of_an_answer_is_escaped(kind):
    with Scripted(fine(result="<script>", reason="<b>")) as server, kind(server.url) as client:
        html = client.decide({})._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;" in html


def test_a_connection_is_used_again(kind):
    with Scripted(fine()) as server, kind(server.url) as client:
        for _ in range(3):
            client.decide({})
        assert (len(server.requests), len(server._open)) == (3, 1)


def test_a_broken_connection_is_repeated_with_the_same_key(kind):
    with Scripted(None, fine()) as server, kind(server.url) as client:
        assert client.decide({}).model == "gbm"
        first, second = server.once_keys()
        assert first == second is not None
        client.decide({})
        assert server.once_keys()[2] not in (None, first)


@pytest.mark.parametrize(
    "cut", [b"HTTP/1.1 200 x\r\nContent-Le", fine()[:-10], b"\x16\x03 what\r\n"]
)
def test_a_reply_that_breaks_off_is_repeated(kind, cut):
    def act(connection, stopped):
        connection.sendall(cut)

    with Scripted(act, fine()) as server, kind(server.url) as client:
        assert client.decide({}).model == "gbm"
        assert len(set(server.once_keys())) == 1


def test_the_callers_key_is_sent(kind):
    with Scripted(None, fine()) as server, kind(server.url) as client:
        client.decide({}, idempotency_key='a "b" \\')
        assert server.once_keys() == ['"a \\"b\\" \\\\"'] * 2


def test_without_a_key_a_broken_connection_is_not_repeated(kind):
    """While the server has no room for keys the client sends none, and repeats nothing unsafe."""
    full = refusal(429, "too_many_idempotency_keys", "Retry-After: 60")
    with Scripted(full, fine(), None) as server, kind(server.url) as client:
        assert client.decide({}).model == "gbm"
        assert [key is None for key in server.once_keys()] == [False, True]
        with pytest.raises(rdv.NoAnswer):
            client.decide({})
        assert server.once_keys()[2:] == [None]


def test_the_callers_own_key_is_never_left_out(kind):
    full = refusal(429, "too_many_idempotency_keys", "Retry-After: 60")
    with Scripted(full) as server, kind(server.url) as client:
        with pytest.raises(rdv.NoAnswer) as raised:
            client.decide({}, idempotency_key="mine")
        assert raised.value.server_code == "too_many_idempotency_keys"
        assert server.once_keys() == ['"mine"']


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_followed(kind, status):
    busy = refusal(status, "too_many_requests", "Retry-After: 0")
    with Scripted(busy, busy, fine()) as server, kind(server.url) as client:
        assert client.decide({}).model == "gbm"
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    "act", [refusal(503, "no_model"), refusal(500, "internal_error"), reply(502, b"<html>")]
)
def test_what_may_have_been_accepted_is_not_repeated(kind, act):
    with Scripted(act) as server, kind(server.url) as client:
        with pytest.raises(rdv.NoAnswer) as raised:
            client.decide({})
        assert len(server.requests) == 1
        assert raised.value.status in (500, 502, 503)
        assert client.decide({}, default=7).code == raised.value.server_code


def test_a_retry_after_beyond_the_timeout_is_not_waited_for(kind):
    busy = refusal(429, "too_many_requests", "Retry-After: 3600")
    with Scripted(busy) as server, kind(server.url, timeout=30) as client:
        with pytest.raises(rdv.NoAnswer) as raised:
            client.decide({})
        assert (raised.value.status, raised.value.server_code) == (429, "too_many_requests")


def test_repeats_are_counted(kind):
    busy = refusal(503, "draining", "Retry-After: 0")
    with Scripted(busy) as server, kind(server.url, retries=2) as client:
        with pytest.raises(rdv.NoAnswer, match="after 3 attempts"):
            client.decide({})
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", [302, 400, 404, 422])
def test_a_refusal_names_what_the_server_said(kind, status):
    with Scripted(refusal(status, "unknown_schedule")) as server, kind(server.url) as client:
        kinds = (rdv.RequestRefused, rdv.NoAnswer)[status == 302]
        with pytest.raises(kinds) as raised:
            client.decide({}, schedule="nope")
        error = raised.value
        assert (error.status, error.server_code, error.message) == (
            status, "unknown_schedule", "it cannot",
        )  # fmt: skip
        assert isinstance(error, rdv.ClientError)
        assert isinstance(error, rdv.RdvError)
        assert str(status) in str(error)
        assert "it cannot" in str(error)
        assert len(server.requests) == 1


def test_a_default_does_not_hide_a_request_that_is_wrong(kind):
    with Scripted(refusal(422, "invalid_schedule")) as server, kind(server.url) as client:
        with pytest.raises(rdv.RequestRefused):
            client.decide({}, default={"score": 0})
        assert len(server.requests) == 1


def test_nobody_there_is_the_callers_own_default(kind):
    with kind(f"http://127.0.0.1:{free_port()}", retries=1) as client:
        answer = client.decide({}, default={"score": 0.0})
        assert answer.is_default
        assert answer.answered_by == "caller"
        assert (answer.answer, answer.id, answer.model) == ({"score": 0.0}, "", None)
        assert answer.code == "unreachable"
        assert "2 attempts" in answer.reason
        assert client.decide({}, default=None).answer is None
        with pytest.raises(rdv.NoAnswer) as raised:
            client.decide({})
        assert raised.value.attempts == 2


@pytest.mark.parametrize(
    "act",
    [
        silent,
        dripping(b""),
        dripping(b"HTTP/1.1 200 OK\r\nX-"),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
    ids=["silent", "drip", "drip-head", "drip-body", "drip-endless"],
)
def test_a_call_ends_with_its_timeout(kind, act):
    with Scripted(act) as server, kind(server.url, timeout=30) as client:
        with pytest.raises(rdv.NoAnswer) as raised:
            client.decide({}, timeout=0.3)
        assert raised.value.is_timeout
        assert raised.value.server_code == "timeout"
        assert client.decide({}, timeout=0.2, default=1).code == "timeout"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"hello", b'{"id": 1}', b'{"id": "1", "result": 1, "kind": null}']
)
def test_a_server_that_is_not_rdv_has_not_answered(kind, body):
    with Scripted(reply(200, body)) as server, kind(server.url) as client:
        with pytest.raises(rdv.NoAnswer) as raised:
            client.decide({})
        assert raised.value.server_code == "invalid_reply"
        assert client.decide({}, default=0).is_default


def test_a_reply_without_end_is_cut_off(kind, monkeypatch):
    monkeypatch.setattr("rdv.client.replies.REPLY_BYTES_MAX", 1_000)
    with Scripted(reply(200, b"x" * 100_000)) as server, kind(server.url) as client:
        with pytest.raises(rdv.NoAnswer, match="1,000 bytes"):
            client.decide({})
        assert len(server.requests) == 1


def test_the_token_is_sent_and_never_shown(kind, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    with Scripted(refusal(403, "forbidden")) as server, kind(server.url, TOKEN) as client:
        with pytest.raises(rdv.RequestRefused) as raised:
            client.decide({})
        assert f"Authorization: Bearer {TOKEN}" in server.requests[0][0]
        shown = [repr(raised.value), str(raised.value), caplog.text]
        with rdv.Client(server.url, TOKEN) as plain:
            shown += [repr(plain), str(plain), str(vars(raised.value))]
    assert not any(TOKEN in text for text in shown)
    for wrong in ("two words", "", "new\nline", "schlüssel"):
        with pytest.raises(rdv.InvalidCall) as raised:
            rdv.Client("http://127.0.0.1:1", wrong)
        assert not wrong or wrong not in str(raised.value)
    with pytest.raises(rdv.InvalidCall) as raised:
        rdv.Client(f"ftp://user:{TOKEN}@host")
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8100", "http://", "http://h:port", "http://h?a=1"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(rdv.InvalidCall):
        rdv.Client(url)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_timeout_that_is_none_is_refused(timeout):
    with pytest.raises(rdv.InvalidCall, match="timeout"):
        rdv.Client("http://127.0.0.1:1", timeout=timeout)


@dataclasses.dataclass
class Row:
    amount: float


class Model:
    def model_dump(self):
        return {"amount": 1.0}


@pytest.mark.parametrize("data", [Row(1.0), Model(), {"amount": np.float64(1)}])
def test_rows_of_many_kinds_are_sent(kind, data):
    with Scripted(fine()) as server, kind(server.url) as client:
        client.decide(data)
    assert orjson.loads(server.requests[0][1])["data"] == {"amount": 1.0}


def test_a_row_of_pandas_with_a_missing_value_is_sent(kind):
    import pandas as pd

    row = pd.DataFrame({"amount": [1.5], "age": [np.nan]}).iloc[0]
    with Scripted(fine()) as server, kind(server.url) as client:
        client.decide(row)
        client.decide({"x": np.array([[1.0, np.nan]])})
    assert [orjson.loads(body)["data"] for _, body in server.requests] == [
        [1.5, None], {"x": [[1.0, None]]},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        {"a": float("inf")}, [None, -np.inf], {"a": np.array([np.inf])}, {"a": object()},
        {"a": 2**70}, {1: 2}, "\ud800", Row(float("inf")),
    ],
)  # fmt: skip
def test_what_is_not_json_is_not_sent(kind, data):
    with Scripted(fine()) as server, kind(server.url) as client:
        with pytest.raises(rdv.InvalidCall):
            client.decide(data, default=1)
        assert server.requests == []


@pytest.mark.parametrize("named", [{"key": True}, {"key": 1.5}, {"models": "gbm"}])
def test_arguments_of_a_wrong_kind_are_refused(kind, named):
    with kind("http://127.0.0.1:1") as client, pytest.raises(rdv.InvalidCall):
        client.decide({}, **named)


def test_a_closed_client_says_so():
    client = rdv.Client("http://127.0.0.1:1")
    client.close()
    client.close()
    with pytest.raises(rdv.InvalidCall, match="closed"):
        client.decide({}, default=1)
    with pytest.raises(TypeError, match="token"):
        pickle.dumps(client)


def test_many_threads_share_a_client():
    answers = []
    with Scripted(fine()) as server, rdv.Client(server.url, timeout=60) as client:

        def ask():
            answers.extend(client.decide({}).model for _ in range(20))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == ["gbm"] * 160
        assert len(set(server.once_keys())) == 160
        assert len(server._open) <= 8


def test_the_child_of_a_fork_has_connections_of_its_own():
    with Scripted(fine()) as server, rdv.Client(server.url) as client:
        client.decide({})
        child = os.fork()
        if child == 0:
            client.decide({})
            client.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        client.decide({})
        assert (len(server.requests), len(server._open)) == (3, 2)


def test_an_async_client_works_in_one_loop_after_another():
    with Scripted(fine()) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # its connections of a closed loop
        client = rdv.AsyncClient(server.url)
        for _ in range(2):
            assert asyncio.run(client.decide({})).model == "gbm"
        del client
        gc.collect()


def test_many_tasks_share_an_async_client():
    async def ask(url):
        async with rdv.AsyncClient(url, timeout=60) as client:
            return await asyncio.gather(*(client.decide({}) for _ in range(50)))

    with Scripted(fine()) as server:
        assert [answer.model for answer in asyncio.run(ask(server.url))] == ["gbm"] * 50


def many(*answers):
    return reply(200, orjson.dumps({"answers": list(answers)}))


def test_several_rows_are_one_call(kind):
    failed = {"error": {"code": "too_many_requests", "message": "none is left"}}
    with (
        Scripted(many(ANSWER, {**ANSWER, "model": "mlp"}), many(ANSWER, failed)) as server,
        kind(server.url) as client,
    ):
        found = client.decide_many([{"a": np.float32(1)}, 2], keys=[7, None], schedule="fast")
        assert [answer.model for answer in found] == ["gbm", "mlp"]
        assert orjson.loads(server.requests[0][1]) == {
            "rows": [{"data": {"a": 1.0}, "key": "7"}, {"data": 2}], "schedule": "fast",
        }  # fmt: skip
        assert server.once_keys() == [None]
        with pytest.raises(rdv.NoAnswer, match="row 1: none is left"):
            client.decide_many([1, 2])
        first, second = client.decide_many([1, 2], default="own")
        assert (first.model, second.answer, second.code) == ("gbm", "own", "too_many_requests")
        for wrong in ({"rows": []}, {"rows": [1], "keys": [1, 2]}):
            with pytest.raises(rdv.InvalidCall):
                client.decide_many(**wrong)


@pytest.mark.parametrize("body", [b"{}", b'{"answers": []}', b'{"answers": [1]}', b"x"])
def test_several_rows_need_as_many_answers(kind, body):
    with Scripted(reply(200, body)) as server, kind(server.url) as client:
        with pytest.raises(rdv.NoAnswer):
            client.decide_many([1])
        assert client.decide_many([1], default=0)[0].is_default


def test_several_rows_are_not_decided_twice(kind):
    """A proxy that is started again does not know the keys of several rows."""
    with Scripted(None, many(ANSWER)) as server, kind(server.url) as client:
        with pytest.raises(rdv.NoAnswer):
            client.decide_many([1])
        assert len(server.requests) == 1
    with Scripted(None, many(ANSWER)) as server, kind(server.url) as client:
        assert client.decide_many([1], idempotency_key="mine")[0].model == "gbm"
        assert server.once_keys() == ['"mine"'] * 2


def test_outcomes_are_sent_in_parts(kind):
    with Scripted(reply(202, b'{"accepted": 1}')) as server, kind(server.url) as client:
        client.outcome("a1", None)
        assert client.outcomes((f"id{n}", n) for n in range(2_500)) == 2_500
        bodies = [orjson.loads(body) for _, body in server.requests]
    assert bodies[0] == [{"id": "a1", "outcome": None}]
    assert [len(body) for body in bodies[1:]] == [1_000, 1_000, 500]
    assert bodies[3][-1] == {"id": "id2499", "outcome": 2499}


def frames():
    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    columns = {"request": ["a", "b", "c"], "label": [1.0, None, 0.0]}
    yield pd.DataFrame(columns)
    yield pl.DataFrame(columns)
    yield pa.table(columns)
    frame = pa.table(columns)  # noqa: F841 - DuckDB finds it by name
    yield duckdb.sql("from frame").arrow()


def test_outcomes_of_frames_of_any_library(kind):
    with Scripted(reply(202, b"{}")) as server, kind(server.url) as client:
        for number, frame in enumerate(frames()):
            assert client.outcomes(frame, id="request", outcome="label") == 2
            assert orjson.loads(server.requests[number][1]) == [
                {"id": "a", "outcome": 1.0}, {"id": "c", "outcome": 0.0},
            ]  # fmt: skip
        with pytest.raises(rdv.RdvError, match="'id'"):
            client.outcomes(frame, outcome="label")


@pytest.mark.parametrize("given", ["ab", 7, {"a": 1}, [("a",)], ["ab"], [{"id": "a"}], [(1, 2)]])
def test_outcomes_that_are_none_are_refused(kind, given):
    with Scripted(reply(202, b"{}")) as server, kind(server.url) as client:
        with pytest.raises(rdv.RdvError):
            client.outcomes(given)
        assert server.requests == []


def test_times_of_outcomes(kind):
    import pandas as pd

    with Scripted(reply(202, b"{}")) as server, kind(server.url) as client:
        client.outcome("a", 1, time=datetime(2026, 5, 1, 12))  # noqa: DTZ001
        time_ = pd.to_datetime(["2026-05-01"])
        client.outcomes(pd.DataFrame({"id": ["a"], "outcome": ["x"], "time": time_}))
    assert [orjson.loads(body)[0]["time"] for _, body in server.requests] == [
        "2026-05-01T12:00:00+00:00", "2026-05-01T00:00:00+00:00",
    ]  # fmt: skip


def test_the_waits_between_repeats_grow_and_fit_into_the_timeout():
    with rdv.Client(f"http://127.0.0.1:{free_port()}", retries=1000) as client:
        begun = time.monotonic()
        with pytest.raises(rdv.NoAnswer) as raised:
            client.decide({}, timeout=1.0)
        assert time.monotonic() - begun >= 0.2
        assert 2 <= raised.value.attempts <= 8
