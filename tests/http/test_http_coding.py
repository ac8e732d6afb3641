"""Check compressed bodies: what is taken, that nothing grows beyond the limit, who gets answers."""

from __future__ import annotations

import gzip
import zlib

import pytest
from http_kit import post
from hypothesis import given
from hypothesis import strategies as st

from rdv.http import Failure, Limits
from rdv.http.coding import compressed, decompressed, wanted_coding

LIMIT = 1_000
CODINGS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


@given(st.binary(max_size=LIMIT), st.sampled_from(sorted(CODINGS)))
def test_there_and_back(body, coding):
    assert decompressed(compressed(body, coding), coding, LIMIT) == body


@given(st.binary(max_size=400), st.sampled_from(sorted(CODINGS)))
def test_any_bytes_are_a_body_or_refused(body, coding):
    found = decompressed(body, coding, LIMIT)
    assert isinstance(found, Failure) or len(found) <= LIMIT


@given(st.binary(min_size=1, max_size=LIMIT), st.sampled_from(sorted(CODINGS)), st.data())
def test_a_part_of_a_body_is_refused(body, coding, data):
    whole = compressed(body, coding)
    cut = data.draw(st.integers(0, len(whole) - 1))
    found = decompressed(whole[:cut], coding, LIMIT)
    assert isinstance(found, Failure)
    assert found.status == 400


def test_a_bomb_is_not_unpacked():
    for coding in CODINGS:
        found = decompressed(compressed(bytes(50_000_000), coding), coding, LIMIT)
        assert isinstance(found, Failure)
        assert (found.status, found.code) == (413, "body_too_large")


def sent(body, coding):
    return post(body, extra=b"Content-Encoding: %b\r\n" % coding)


def chunks(body, coding):
    head = b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Encoding: %b"
    parts = [body[at : at + 7] for at in range(0, len(body), 7)]
    lines = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return (head % coding) + b"\r\n\r\n" + lines + b"0\r\n\r\n"


@pytest.mark.parametrize("how", [sent, chunks])
@pytest.mark.parametrize("slices", [None, 1])
def test_applications_see_the_plain_body(web, how, slices):
    plain = b"abc" * 50
    with web.client() as client:
        for coding, packed in (
            (b"gzip", gzip.compress(plain)),
            (b"GZip", gzip.compress(plain, mtime=0)),
            (b"x-gzip", gzip.compress(plain)),
            (b"deflate", zlib.compress(plain)),
            (b"identity, gzip", gzip.compress(plain)),
        ):
            data = how(packed, coding) + post(b"next")
            for at in range(0, len(data), slices or len(data)):
                client.send(data[at : at + (slices or len(data))])
            assert [client.answer().body for _ in range(2)] == [plain, b"next"]


@pytest.mark.parametrize(
    ("body", "coding", "status", "code"),
    [
        (b"x", b"gzip", 400, "malformed_request"),
        (gzip.compress(b"x")[:-1], b"gzip", 400, "malformed_request"),
        (gzip.compress(b"x") * 2, b"gzip", 400, "malformed_request"),
        (gzip.compress(b"x") + b"y", b"gzip", 400, "malformed_request"),
        (gzip.compress(b"x"), b"deflate", 400, "malformed_request"),
        (zlib.compress(b"x"), b"gzip", 400, "malformed_request"),
        (gzip.compress(bytes(LIMIT + 1)), b"gzip", 413, "body_too_large"),
        (gzip.compress(gzip.compress(b"x")), b"gzip, gzip", 415, "content_coding_unknown"),
        (b"x", b"br", 415, "content_coding_unknown"),
        (b"x", b"zstd, gzip", 415, "content_coding_unknown"),
        (b"x", b"gzip;q=1", 415, "content_coding_unknown"),
    ],
)
def test_what_is_refused(make_web, body, coding, status, code):
    web = make_web(limits=Limits(body_bytes_max=LIMIT))
    answer = web.ask(sent(body, coding))
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers[b"connection"] == b"close"
    if status == 415:
        assert answer.headers[b"accept-encoding"] == b"gzip, deflate"


def test_an_empty_body_needs_no_coding(web):
    assert web.ask(sent(b"", b"gzip")).body == b""


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (b"", b""),
        (b"gzip", b"gzip"),
        (b"deflate", b"deflate"),
        (b"GZIP, Deflate, br", b"gzip"),
        (b"deflate;q=1, gzip;q=0.5", b"deflate"),
        (b"gzip;q=0", b""),
        (b"gzip; q=0.000, deflate", b"deflate"),
        (b"*", b"gzip"),
        (b"*;q=0", b""),
        (b"gzip;q=0, *", b"deflate"),
        (b"identity, gzip;q=0.1", b""),
        (b"br", b""),
        (b"gzip;q=many", b""),
        (b"gzip;q=nan", b""),
        (b",;,=;q", b""),
    ],
)
def test_which_coding_an_answer_has(accept, coding):
    assert wanted_coding(accept) == coding


def test_only_large_answers_are_compressed_and_only_where_they_may_be(make_web):
    def answer(request):
        size = int(request.query)
        request.respond(200, b"x" * size, may_compress=request.path == "/may")

    web = make_web(application=answer)

    def ask(target, accept=b"Accept-Encoding: gzip\r\n"):
        return web.ask(b"GET %b HTTP/1.1\r\nHost: t\r\n%b\r\n" % (target, accept))

    packed = ask(b"/may?5000")
    assert (packed.headers[b"content-encoding"], packed.headers[b"vary"]) == (
        b"gzip", b"Accept-Encoding",
    )  # fmt: skip
    assert gzip.decompress(packed.body) == b"x" * 5000
    for plain in (ask(b"/may?50"), ask(b"/may?5000", b""), ask(b"/no?5000")):
        assert b"content-encoding" not in plain.headers
        assert plain.body.strip(b"x") == b""
