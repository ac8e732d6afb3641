"""Check what well-behaved clients get, and unusual ones that keep to the protocol."""

from __future__ import annotations

import asyncio
import json

import pytest
from http_kit import post

from rdv.http import AnsweredTwice, InvalidHeader, Limits

GET = b"GET /get HTTP/1.1\r\nHost: t\r\n\r\n"


def test_answers_and_keeps_the_connection(web):
    with web.client() as client:
        for body in (b"1", b"", b"x" * 100_000, b"3"):
            client.send(post(body))
            answer = client.answer()
            assert (answer.status, answer.body) == (200, body)
            assert answer.headers[b"content-type"] == b"application/json"
            assert answer.headers[b"date"].endswith(b"GMT")
            assert b"connection" not in answer.headers
    assert web.server.counters.requests == 4
    assert web.server.counters.connections_opened == 1


@pytest.mark.parametrize(
    ("head", "connection"),
    [
        (b"GET /get HTTP/1.0\r\n\r\n", b"close"),
        (b"GET /get HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"keep-alive"),
        (b"GET /get HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", b"close"),
        (b"GET /get HTTP/1.1\r\nHost: t\r\n\r\n", None),
    ],
)
def test_keep_alive_of_both_versions(web, head, connection):
    with web.client() as client:
        client.send(head)
        answer = client.answer()
        assert answer.status == 200
        assert answer.headers.get(b"connection") == connection
        if connection == b"close":
            assert client.ends()
        else:
            client.send(GET)
            assert client.answer().status == 200


CLOSING = {
    "1.0": b"GET /get HTTP/1.0\r\n\r\n",
    "close": b"GET /get HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    "refused": b"GET /get HTTP/1.1\r\nHost: a b\r\n\r\n",
}


@pytest.mark.parametrize("name", CLOSING)
def test_the_last_answer_is_not_lost_to_a_reset(web, name):
    """The client goes on sending before it reads: closing with unread bytes would reset it."""
    with web.client() as client:
        client.send(CLOSING[name])
        for _ in range(40):
            client.send(b"x" * 100_000)
        client.half_close()
        assert client.answer().status == (400 if name == "refused" else 200)
        assert not client.more()  # an orderly end; a reset would raise


def test_the_last_answer_of_a_drain_is_not_lost_to_a_reset(web):
    with web.client() as client:
        client.send(GET)
        assert client.answer().status == 200
        draining = asyncio.run_coroutine_threadsafe(web.server.drain(5.0), web.loop)
        while not web.call(lambda: web.server._hub.draining):
            pass
        for _ in range(40):
            client.send(b"x" * 100_000)
        client.half_close()
        assert not client.more()
        assert draining.result(5) == 0


def test_what_follows_connection_close_is_not_served(web):
    with web.client() as client:
        client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + GET)
        assert client.answer().status == 200
        assert client.ends()
    assert web.server.counters.requests == 1


def test_every_split_of_a_body_and_a_head(web):
    whole = post(b"0123456789")
    with web.client() as client:
        for cut in range(1, len(whole)):
            client.send(whole[:cut])
            client.send(whole[cut:])
            assert client.answer().body == b"0123456789"
        for byte in whole:
            client.send(bytes([byte]))
        assert client.answer().body == b"0123456789"


def test_chunked_bodies_with_extensions_and_trailers(web):
    head = b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: Chunked\r\n\r\n"
    body = b"3;a=b\r\nabc\r\n00a\r\n0123456789\r\n0\r\nTrailer: yes\r\n\r\n"
    with web.client() as client:
        client.send(head + body + head + b"0\r\n\r\n" + post(b"next"))
        assert [client.answer().body for _ in range(3)] == [b"abc0123456789", b"", b"next"]
        for byte in head + body:
            client.send(bytes([byte]))
        assert client.answer().body == b"abc0123456789"


def test_continue_is_said_before_the_body(web):
    head = post(b"abc", extra=b"Expect: 100-continue\r\n")[:-3]
    with web.client() as client:
        client.send(head)
        assert client.answer().status == 100
        client.send(b"abc")
        assert client.answer().body == b"abc"
        client.send(head + b"abc")  # a client that does not wait gets no 100
        assert client.answer().status == 200
        client.send(head.replace(b"HTTP/1.1", b"HTTP/1.0"))  # HTTP/1.0 has no 100
        client.send(b"abc")
        assert client.answer().status == 200


def test_continue_comes_after_the_answers_that_are_owed(web):
    with web.client() as client:
        client.send(post(b"1", b"/later") + post(b"abc", extra=b"Expect: 100-continue\r\n")[:-3])
        first = web.later()
        web.call(first.respond, 200, b"one")
        assert client.answer().body == b"one"
        assert client.answer().status == 100
        client.send(b"abc")
        assert client.answer().body == b"abc"


def test_too_large_a_body_is_refused_without_continue(make_web):
    web = make_web(limits=Limits(body_bytes_max=10))
    answer = web.ask(post(b"x" * 11, extra=b"Expect: 100-continue\r\n")[:-11])
    assert (answer.status, answer.code) == (413, "body_too_large")


def test_head_and_options(web):
    with web.client() as client:
        client.send(b"HEAD /get HTTP/1.1\r\nHost: t\r\n\r\n")
        answer = client.answer(head_only=True)
        assert (answer.status, answer.headers[b"content-length"]) == (200, b"12")
        client.send(b"OPTIONS /get HTTP/1.1\r\nHost: t\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.headers[b"allow"]) == (204, b"GET, HEAD, OPTIONS")
        client.send(b"OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n")
        assert client.answer().headers[b"allow"] == b"GET, HEAD, OPTIONS, POST"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/get?a=1&b=%20", "/get", "a=1&b=%20"),
        (b"http://host:80/get?x", "/get", "x"),
        (b"/get?http://x/", "/get", "http://x/"),
    ],
)
def test_targets(web, target, path, query):
    answer = web.ask(b"GET %b HTTP/1.1\r\nHost: t\r\n\r\n" % target)
    assert json.loads(answer.body) == [path, query]


def test_missing_and_not_allowed(web):
    answer = web.ask(GET.replace(b"/get", b"/nowhere"))
    assert (answer.status, answer.code) == (404, "not_found")
    answer = web.ask(GET.replace(b"GET", b"DELETE"))
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers[b"allow"] == b"GET, HEAD, OPTIONS"


def test_a_half_closed_client_gets_its_answer(web):
    with web.client() as client:
        client.send(post(b"now") + post(b"1", b"/later"))
        client.half_close()
        assert client.answer().body == b"now"
        web.call(web.later().respond, 200, b"later")
        assert client.answer().body == b"later"
        assert client.ends()


def test_upgrades_are_ignored_with_their_bodies(web):
    extra = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"
    chunked = b"POST /echo HTTP/1.1\r\nHost: t\r\n%bTransfer-Encoding: chunked\r\n\r\n" % extra
    with web.client() as client:
        client.send(post(b"body", extra=extra) + chunked + b"1\r\nx\r\n0\r\n\r\n" + GET)
        assert client.answer().body == b"body"
        assert client.answer().body == b"x"
        assert client.answer().status == 200


def test_answers_go_out_in_the_order_of_requests(web):
    with web.client() as client:
        client.send(b"".join(post(b"%d" % n, b"/later") for n in range(20)) + post(b"20"))
        held = [web.later() for _ in range(20)]
        for request in reversed(held):
            web.call(request.respond, 200, request.body)
        assert [client.answer().body for _ in range(21)] == [b"%d" % n for n in range(21)]


def test_answering_twice_or_after_the_client_has_left_does_nothing(web):
    with web.client() as client:
        client.send(post(b"", b"/later"))
        request = web.later()
        assert request.connected
        with pytest.raises(InvalidHeader):
            request.respond(200, headers=[(b"A", b"b\r\nc: d")])
        web.call(request.respond, 200, b"1")
        assert not request.connected
        with pytest.raises(AnsweredTwice):
            request.respond(200, b"2")
        assert client.answer().body == b"1"
        client.send(post(b"", b"/later"))
        request = web.later()
        client.reset()
    while web.server.connections_open:  # until the test times out
        web.call(lambda: None)
    web.call(request.respond, 200, b"nobody")


def test_a_failing_application_is_500_and_goes_on(web):
    with web.client() as client:
        client.send(GET.replace(b"/get", b"/fails") + GET)
        answer = client.answer()
        assert (answer.status, answer.code) == (500, "internal_error")
        assert client.answer().status == 200
    assert isinstance(web.errors[0]["exception"], ZeroDivisionError)


def test_empty_lines_before_a_request_are_ignored(web):
    with web.client() as client:
        client.send(b"\r\n\r\n" + GET + b"\r\n" + GET)
        assert [client.answer().status for _ in range(2)] == [200, 200]
        for piece in (b"\r", b"\n", GET):
            client.send(piece)
        assert client.answer().status == 200
