"""Check that a real proxy answers each request of raw bytes once: each refusal has a status, a
listed code and a sentence, and no answer is lost to a reset.
"""

from __future__ import annotations

import gzip
import re
import socket
import zlib

import orjson
import pytest
from running import DEADLINE_S

from rdv.codes import HTTP_CODES

BODY = b'{"data":{"n":1}}'
LENGTH, CHUNKED = b"Content-Length: 16\r\n", b"Transfer-Encoding: chunked\r\n"
JSON = b"Content-Type: application/json\r\n"
CHUNK = b"10\r\n" + BODY + b"\r\n"


def post(
    more: bytes = b"",
    body: bytes = BODY,
    *,
    target: bytes = b"/v1/decide",
    version: bytes = b"HTTP/1.1",
    host: bytes = b"Host: localhost\r\n",
    kind: bytes = JSON,
    length: bytes | None = None,
) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if length is None else length
    return b"POST %b %b\r\n%b\r\n" % (target, version, host + kind + length + more) + body


def chunked(body: bytes, how: bytes = CHUNKED) -> bytes:
    return post(how, body, length=b"")


def get(line: bytes) -> bytes:
    return line + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"


BAD = (400, "malformed_request")
CASES: dict[str, tuple[bytes, list[object]]] = {
    "obs-fold before the first header": (post(host=b" Host: localhost\r\n"), [BAD]),
    "length and chunked": (post(CHUNKED, b"0\r\n\r\n"), [BAD]),
    "gzip, chunked": (
        chunked(b"0\r\n\r\n", b"Transfer-Encoding: gzip, chunked\r\n"),
        [(501, "transfer_encoding_unknown")],
    ),
    "chunked in 1.0": (
        post(CHUNKED, CHUNK + b"0\r\n\r\n", version=b"HTTP/1.0", length=b""),
        [(400, "bad_header")],
    ),
    "another case of chunked": (
        chunked(CHUNK + b"0\r\n\r\n", b"Transfer-Encoding: ChUnKeD\r\n"),
        [200],
    ),
    "chunk extensions": (
        chunked(b'10;a=b;c="d;\\"e"\r\n' + BODY + b"\r\n0;x\r\nTrailer: 1\r\n\r\n"),
        [200],
    ),
    "trailers that frame": (
        chunked(CHUNK + b"0\r\nContent-Length: 5\r\nHost: evil\r\n\r\n") + post(),
        [200, 200],
    ),
    "a chunk size with a sign": (chunked(b"-5\r\nabc\r\n0\r\n\r\n"), [BAD]),
    "a chunk size with 0x": (chunked(b"0x10\r\n" + BODY + b"\r\n0\r\n\r\n"), [BAD]),
    "a chunk size of 68 bits": (chunked(b"F" * 17 + b"\r\n"), [BAD]),
    "line feeds only": (post().replace(b"\r\n", b"\n"), [BAD]),
    "an absolute target": (post(target=b"http://localhost/v1/decide"), [200]),
    "an absolute target elsewhere": (
        post(target=b"http://evil.example/v1/decide"),
        [(421, "misdirected_request")],
    ),
    "an absolute target with a user": (post(target=b"http://u:p@localhost/v1/decide"), [BAD]),
    "an absolute target without a path": (post(target=b"http://localhost"), [(404, "not_found")]),
    "IPv6 loopback": (post(host=b"Host: [::1]:80\r\n"), [200]),
    "IPv6 loopback in full": (post(host=b"Host: [0:0:0:0:0:0:0:1]\r\n"), [200]),
    "IPv6 elsewhere": (post(host=b"Host: [2001:db8::1]\r\n"), [(421, "misdirected_request")]),
    "a number as Host": (post(host=b"Host: 2130706433\r\n"), [(421, "misdirected_request")]),
    "no Host in 1.0": (post(host=b"", version=b"HTTP/1.0"), [200]),
    "an escape that is not needed": (post(target=b"/v1/%64ec%69de"), [200]),
    "an escaped slash": (post(target=b"/v1%2Fdecide"), [(404, "not_found")]),
    "a broken escape": (post(target=b"/v1/%zz"), [(404, "not_found")]),
    "dots": (post(target=b"/v1/../v1/decide"), [(404, "not_found")]),
    "a fragment": (post(target=b"/v1/decide#x"), [BAD]),
    "an asterisk for GET": (get(b"GET *"), [BAD]),
    "OPTIONS of all": (get(b"OPTIONS *"), [204]),
    "another method": (get(b"GET /v1/decide"), [(405, "method_not_allowed")]),
    "continue": (post(b"Expect: 100-continue\r\n"), [200]),
    "another expectation": (post(b"Expect: 200-ok\r\n"), [(417, "expectation_failed")]),
    "kept alive in 1.0": (
        post(b"Connection: keep-alive\r\n", version=b"HTTP/1.0") * 2,
        [200, 200],
    ),
    "closed in 1.0": (post(version=b"HTTP/1.0") * 2, [200]),
    "pipelined refusals": (
        post(body=b"{") * 2 + post() + post(b"X-Request-Id: a b\r\n") + post(),
        [(400, "malformed_json")] * 2 + [200, (400, "invalid_request_id"), 200],
    ),
    "garbage behind refusals": (
        post() + post(body=b"{") + b"GARBAGE\r\n\r\n",
        [200, (400, "malformed_json"), BAD],
    ),
    **{
        f"a body in {coding}": (
            post(b"Content-Encoding: %b\r\n" % coding.encode()),
            [(415, "content_coding_unknown")],
        )
        for coding in ("br", "zstd, gzip", "gzip, gzip")
    },
    "a body that is no gzip": (post(b"Content-Encoding: gzip\r\n"), [BAD]),
    "a body in gzip": (
        post(b"Content-Encoding: gzip\r\n", gzip.compress(BODY, mtime=0)) + post(),
        [200, 200],
    ),
    "a body in deflate": (post(b"Content-Encoding: deflate\r\n", zlib.compress(BODY)), [200]),
    "a bomb in gzip": (
        post(b"Content-Encoding: gzip\r\n", gzip.compress(b" " * 10**7, mtime=0)),
        [(413, "body_too_large")],
    ),
    **{
        f"a body in {encoding}": (
            post(body='{"data":1}'.encode(encoding)),
            [(400, "malformed_json")],
        )
        for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-32-be")
    },
    "a charset": (
        post(kind=b"Content-Type: application/json; charset=latin-1\r\n"),
        [(415, "unsupported_media_type")],
    ),
    "two media types": (post(kind=JSON * 2), [(400, "bad_header")]),
    "a length with a sign": (post(length=b"Content-Length: +16\r\n"), [BAD]),
    "a length of 80 bits": (
        post(length=b"Content-Length: 999999999999999999999999\r\n"),
        [(413, "body_too_large")],
    ),
    "no length": (post(body=b"", length=b""), [(411, "length_required")]),
    "a tab in the request line": (post().replace(b"POST ", b"POST\t"), [BAD]),
    "two spaces in it": (post().replace(b"POST ", b"POST  "), [BAD]),
    "a name with a space": (post(b"X A: b\r\n"), [BAD]),
    "an origin of null": (post(b"Origin: null\r\n"), [(403, "foreign_origin")]),
    "an origin of another port": (
        post(b"Origin: http://localhost:3000\r\n"),
        [(403, "foreign_origin")],
    ),
    "two keys": (
        post(b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n"),
        [(400, "invalid_idempotency_key")],
    ),
    "cut in the head": (post()[:40], [(400, "truncated_request")]),
    "cut in the body": (post()[:-3], [(400, "truncated_request")]),
    "cut in a chunk": (chunked(b"10\r\nabc"), [(400, "truncated_request")]),
}


@pytest.mark.parametrize("name", CASES)
def test_each_request_gets_its_answer(decision, name):
    raw, expected = CASES[name]
    received = b""
    with socket.create_connection(("127.0.0.1", decision.port), DEADLINE_S) as link:
        link.sendall(raw)
        link.shutdown(socket.SHUT_WR)
        while data := link.recv(65536):
            received += data
    assert [shown(*answer) for answer in answers(received)] == expected


def answers(received: bytes):
    """Yield the status and body of each answer, except those with status 100."""
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = re.search(rb"(?i)content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        body, received = received[:size], received[size:]
        if status != 100:
            yield status, body


def shown(status: int, body: bytes) -> object:
    if status < 400:
        return status
    error = orjson.loads(body)["error"]
    assert error["message"]
    assert HTTP_CODES[error["code"]][0] == status
    return status, error["code"]
