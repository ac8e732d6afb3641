"""Check what is refused, with which message, and that the refusal arrives."""

from __future__ import annotations

import pytest
from http_kit import post

from rdv.http import Limits

HOST = b"Host: t\r\n"
LIMITS = Limits(
    header_bytes_max=1000, headers_max=10, target_bytes_max=100, body_bytes_max=100, linger_ms=100
)


def get(line=b"GET /get HTTP/1.1", headers=HOST):
    return line + b"\r\n" + headers + b"\r\n"


def sends(headers, body=b"", version=b"1.1"):
    return b"POST /echo HTTP/%b\r\nHost: t\r\n%b\r\n%b" % (version, headers, body)


CHUNKED = b"Transfer-Encoding: chunked\r\n"
BAD_HOSTS = [
    b"", b" ", b"a b", b"a, b", b"a,b", b"u@t", b"u:p@t", b"t:x", b"t:-1", b"t:0", b"t:65536",
    b"t:123456", b"t:80:80", b":80", b"/t", b"t/", b"http://t", b"t?", b"t#", b"[::1", b"::1",
    b"[::1]x", b"[]", b"[1.2.3.4]", b"[::1%eth0]", b"[v1.x]", b"t\tu", b"<t>", b"t\\u", b"a%",
    b"a%zz", b".", b"\xe4", b'"t"', b"{t}", b"a|b", b"a^b", b"a`b",
]  # fmt: skip
CASES = {
    "binary": (b"\x00\x01\x02\x03\xff", 400, "malformed_request"),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00", 400, "malformed_request"),
    "unknown method": (get(b"FROB / HTTP/1.1"), 400, "malformed_request"),
    "lower-case method": (get(b"get / HTTP/1.1"), 400, "malformed_request"),
    "no version": (get(b"GET /"), 505, "version_not_supported"),
    "connect": (get(b"CONNECT t:80 HTTP/1.1"), 501, "method_unknown"),
    "trace": (get(b"TRACE / HTTP/1.1"), 501, "method_unknown"),
    "icecast": (get(b"SOURCE / ICE/1.0"), 501, "method_unknown"),
    "http/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version_not_supported"),
    "http/2.0": (get(b"GET / HTTP/2.0"), 505, "version_not_supported"),
    "http/1.2": (get(b"GET / HTTP/1.2"), 505, "version_not_supported"),
    "NUL in target": (get(b"GET /a\0b HTTP/1.1"), 400, "malformed_request"),
    "NUL in value": (get(headers=HOST + b"A: b\0c\r\n"), 400, "malformed_request"),
    "bare CR": (get(headers=HOST + b"A: b\rc\r\n"), 400, "malformed_request"),
    "bare LF": (b"GET /get HTTP/1.1\nHost: t\n\n", 400, "malformed_request"),
    "obs-fold": (get(headers=HOST + b"A: b\r\n c\r\n"), 400, "malformed_request"),
    "space before colon": (sends(b"Content-Length : 1\r\n", b"x"), 400, "malformed_request"),
    "no name": (get(headers=HOST + b": b\r\n"), 400, "malformed_request"),
    "no host": (get(headers=b"A: b\r\n"), 400, "bad_header"),
    "two hosts": (get(headers=HOST + b"host: u\r\n"), 400, "bad_header"),
    "two lengths": (
        sends(b"Content-Length: 1\r\nContent-Length: 1\r\n", b"x"),
        400,
        "malformed_request",
    ),
    "a list of lengths": (sends(b"Content-Length: 1, 2\r\n", b"x"), 400, "malformed_request"),
    "length and chunked": (
        sends(b"Content-Length: 1\r\n" + CHUNKED, b"0\r\n\r\n"),
        400,
        "malformed_request",
    ),
    "chunked and length": (
        sends(CHUNKED + b"Content-Length: 1\r\n", b"0\r\n\r\n"),
        400,
        "malformed_request",
    ),
    "negative length": (sends(b"Content-Length: -1\r\n"), 400, "malformed_request"),
    "signed length": (sends(b"Content-Length: +1\r\n", b"x"), 400, "malformed_request"),
    "empty length": (sends(b"Content-Length: \r\n"), 400, "malformed_request"),
    "CR before the line": (b"\r" + get(), 400, "malformed_request"),
    "LF before the line": (b"\n" + get(), 400, "malformed_request"),
    "CR CR LF before the line": (b"\r\r\n" + get(), 400, "malformed_request"),
    "CRLF CR before the line": (b"\r\n\r" + get(), 400, "malformed_request"),
    "empty lines": (b"\r\n" * 17 + get(), 400, "malformed_request"),
    "space before the line": (b" " + get(), 400, "malformed_request"),
    "two spaces before the target": (get(b"GET  /get HTTP/1.1"), 400, "malformed_request"),
    "two spaces behind the target": (get(b"GET /get  HTTP/1.1"), 400, "malformed_request"),
    "space behind the version": (get(b"GET /get HTTP/1.1 "), 400, "malformed_request"),
    "tab before the target": (get(b"GET\t/get HTTP/1.1"), 400, "malformed_request"),
    "tab behind the target": (get(b"GET /get\tHTTP/1.1"), 400, "malformed_request"),
    "space and tab": (get(b"GET \t/get HTTP/1.1"), 400, "malformed_request"),
    "space in the target": (get(b"GET /g et HTTP/1.1"), 400, "malformed_request"),
    "form feed in the target": (get(b"GET /g\x0cet HTTP/1.1"), 400, "malformed_request"),
    "fragment": (get(b"GET /get#a HTTP/1.1"), 400, "malformed_request"),
    "not ASCII": (get(b"GET /\xc3\xa9 HTTP/1.1"), 400, "malformed_request"),
    "no path": (get(b"GET get HTTP/1.1"), 400, "malformed_request"),
    "asterisk": (get(b"GET * HTTP/1.1"), 400, "malformed_request"),
    "another scheme": (get(b"GET ftp://t/get HTTP/1.1"), 400, "malformed_request"),
    "no authority": (get(b"GET http:///get HTTP/1.1"), 400, "malformed_request"),
    "userinfo": (get(b"GET http://u@t/get HTTP/1.1"), 400, "malformed_request"),
    "authority's port": (get(b"GET http://t:99999/get HTTP/1.1"), 400, "malformed_request"),
    **{
        f"host {host!r}": (get(headers=b"Host: %b\r\n" % host), 400, "bad_header")
        for host in BAD_HOSTS
    },
    "no gzip": (sends(b"Content-Length: 1\r\nContent-Encoding: gzip\r\n", b"x"), 400, None),
    "br chunks": (sends(CHUNKED + b"Content-Encoding: br\r\n", b"0\r\n\r\n"), 415, None),
    "deflate, gzip": (
        sends(b"Content-Length: 1\r\nContent-Encoding: deflate, gzip\r\n", b"x"),
        415,
        "content_coding_unknown",
    ),
    "no length": (sends(b""), 411, "length_required"),
    "long body": (sends(b"Content-Length: 101\r\n"), 413, "body_too_large"),
    "absurd length": (sends(b"Content-Length: %d\r\n" % 10**30), 413, "body_too_large"),
    "long target": (get(b"GET /" + b"a" * 100 + b" HTTP/1.1"), 414, "target_too_long"),
    "endless target": (b"GET /" + b"a" * 2000, 414, "target_too_long"),
    "long header": (get(headers=HOST + b"A: " + b"b" * 2000 + b"\r\n"), 431, "headers_too_large"),
    "endless header": (b"GET / HTTP/1.1\r\nA: " + b"b" * 2000, 431, "headers_too_large"),
    "many headers": (get(headers=HOST + b"A: b\r\n" * 10), 431, "too_many_headers"),
    "unknown expect": (
        sends(b"Content-Length: 1\r\nExpect: tea\r\n"),
        417,
        "expectation_failed",
    ),
    "gzip coding": (
        sends(b"Transfer-Encoding: gzip, chunked\r\n"),
        501,
        "transfer_encoding_unknown",
    ),
    "gzip, then chunked": (
        sends(b"Transfer-Encoding: gzip\r\n" + CHUNKED),
        501,
        "transfer_encoding_unknown",
    ),
    "chunked twice": (
        sends(b"Transfer-Encoding: chunked, chunked\r\n"),
        400,
        "malformed_request",
    ),
    "chunked in 1.0": (sends(CHUNKED, b"0\r\n\r\n", version=b"1.0"), 400, "bad_header"),
    "long chunked body": (
        sends(CHUNKED, b"32\r\n" + b"x" * 50 + b"\r\n33\r\n"),
        413,
        "body_too_large",
    ),
    "chunk size": (sends(CHUNKED, b"zz\r\n"), 400, "malformed_request"),
    "signed chunk size": (sends(CHUNKED, b"+1\r\nx\r\n0\r\n\r\n"), 400, "malformed_request"),
    "0x chunk size": (sends(CHUNKED, b"0x1\r\nx\r\n0\r\n\r\n"), 400, "malformed_request"),
    "spaced chunk size": (sends(CHUNKED, b"1 \r\nx\r\n0\r\n\r\n"), 400, "malformed_request"),
    "absurd chunk size": (sends(CHUNKED, b"f" * 17 + b"\r\n"), 400, "malformed_request"),
    "LF after chunk size": (sends(CHUNKED, b"1\nx\r\n0\r\n\r\n"), 400, "malformed_request"),
    "chunk too long": (sends(CHUNKED, b"1\r\nxy\r\n0\r\n\r\n"), 400, "malformed_request"),
    "endless extension": (
        sends(CHUNKED, b"1;" + b"a" * 1100),
        431,
        "headers_too_large",
    ),
    "extensions in sum": (sends(CHUNKED, (b"1;" + b"a" * 90 + b"\r\nx\r\n") * 12), 431, None),
    "bad trailer": (sends(CHUNKED, b"0\r\nno colon\r\n\r\n"), 400, "malformed_request"),
    "endless trailers": (sends(CHUNKED, b"0\r\n" + b"A: b\r\n" * 300), 431, None),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("slices", [None, 1, 7])
def test_refused_and_closed_however_it_is_sliced(refusing_server, name, slices):
    data, status, code = CASES[name]
    with refusing_server.client() as client:
        step = slices or len(data)
        try:
            for at in range(0, len(data), step):
                client.send(data[at : at + step])
        except (BrokenPipeError, ConnectionResetError):
            pytest.fail("reset before the whole was sent")
        answer = client.answer()
        assert answer.status == status, answer.body
        assert code is None or answer.code == code
        assert answer.headers[b"connection"] == b"close"
        client.half_close()
        assert client.ends()


@pytest.fixture(scope="module")
def refusing_server():
    from http_kit import WebServer

    web = WebServer(limits=LIMITS)
    yield web
    assert web.ask(post(b"fine")).body == b"fine"
    assert not web.errors
    web.stop()


def test_garbage_after_good_requests(web):
    with web.client() as client:
        client.send(post(b"1") + post(b"2", b"/later") + b"\0\0garbage")
        assert client.answer().body == b"1"
        web.call(web.later().respond, 200, b"two")
        assert client.answer().body == b"two"
        assert client.answer().status == 400
        client.half_close()
        assert client.ends()


def test_a_refusal_reaches_a_client_that_goes_on_sending(make_web, kind):
    web = make_web(kind=kind, limits=Limits(body_bytes_max=100))
    with web.client() as client:
        client.send(sends(b"Content-Length: 3000000\r\n"))
        client.send(b"x" * 3_000_000)
        assert client.answer().status == 413


def test_a_request_that_ends_early_is_truncated(web):
    for whole in (post(b"abc")[:-1], b"GET / HT"):
        with web.client() as client:
            client.send(whole)
            client.half_close()
            answer = client.answer()
            assert (answer.status, answer.code) == (400, "truncated_request")
            assert client.ends()


def test_a_client_that_says_nothing_and_leaves(web):
    with web.client() as client:
        client.half_close()
        assert client.ends()


XID = b"X-Request-Id: trace-1\r\n"
MARKED = {
    "bad host": get(headers=b"Host: a b\r\n" + XID),
    "target": get(b"GET /" + b"a" * 200 + b" HTTP/1.1", HOST + XID),
    "many headers": get(headers=HOST + XID + b"A: b\r\n" * 20),
    "expectation": sends(b"Expect: tea\r\nContent-Length: 1\r\n" + XID, b"x"),
    "too large": sends(b"Content-Length: 101\r\n" + XID),
    "no length": sends(XID),
    "coding": sends(b"Content-Encoding: gzip\r\nContent-Length: 1\r\n" + XID, b"x"),
    "chunk": sends(CHUNKED + XID, b"zz\r\n"),
    "chunks too large": sends(CHUNKED + XID, b"fff\r\n"),
    "application": get(b"GET /fails HTTP/1.1", HOST + XID),
}


@pytest.mark.parametrize("name", MARKED)
def test_a_refusal_says_which_request_it_is_for(make_web, name):
    web = make_web(limits=LIMITS)
    answer = web.ask(MARKED[name])
    assert answer.status >= 400
    assert answer.headers[b"x-request-id"] == b"trace-1"
    web.errors.clear()


@pytest.mark.parametrize("value", [b"", b"two words", b"x" * 129, b"\xe9", b"a\r\nX-Request-Id: b"])
def test_an_unusable_id_is_not_sent_back(make_web, value):
    answer = make_web(limits=LIMITS).ask(get(headers=b"X-Request-Id: %b\r\n" % value))
    assert answer.status == 400
    assert b"x-request-id" not in answer.headers


def test_a_body_that_ends_early_or_takes_too_long_is_named(make_web):
    web = make_web(limits=Limits(client_timeout_ms=200, answer_timeout_ms=200))
    part = sends(XID + b"Content-Length: 9\r\n", b"x")
    for ends, status in ((True, 400), (False, 408)):
        with web.client() as client:
            client.send(part)
            if ends:
                client.half_close()
            answer = client.answer()
        assert (answer.status, answer.headers[b"x-request-id"]) == (status, b"trace-1")
    with web.client() as client:
        client.send(get(b"GET /later HTTP/1.1", HOST + XID))
        answer = client.answer()
    assert (answer.status, answer.headers[b"x-request-id"]) == (503, b"trace-1")
