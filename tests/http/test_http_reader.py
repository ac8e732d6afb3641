"""Check that the reader does not depend on how the network splits the bytes."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_http_refusals import CASES, LIMITS

from rdv.http.head import REMEMBERED_MAX, HeadParser
from rdv.http.reader import RequestReader

PIECES = [
    b"GET / HTTP/1.1\r\nHost: t\r\n\r\n",
    b"POST /a?b HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello",
    (
        b"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;x\r\nabc\r\n0\r\nT: r\r\n\r\n"
    ),
    b"\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    (
        b"PUT / HTTP/1.1\r\nHost: t\r\nUpgrade: h2c\r\nConnection: upgrade\r\n"
        b"Content-Length: 2\r\n\r\nhi"
    ),
    *(data for data, _, _ in CASES.values()),
]


def read(parts):
    reader = RequestReader(LIMITS, HeadParser(LIMITS))
    found = []
    for part in parts:
        reader.feed(part)
        while (request := reader.next(0)) is not None:
            found.append((request.method, request.target, dict(request.headers), request.body))
    failure = reader.failure
    said = (failure.status, failure.code) if failure else None
    return found, said, reader.more, reader.in_body


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=5), st.data())
def test_splits_make_no_difference(pieces, data):
    whole = b"".join(pieces)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1 or 1), max_size=30)))
    parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    expected = read([whole])
    assert read(parts) == expected
    assert read([bytes([byte]) for byte in whole]) == expected


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.integers(1, 200))
@example(b"GET /\r\n\r\n", 5)
@example(b"\r\n\r\n\r\n", 1)
def test_any_bytes_are_read_alike(data, step):
    parts = [data[at : at + step] for at in range(0, len(data), step)]
    assert read(parts) == read([data])


def test_heads_are_remembered_within_a_bound():
    heads = HeadParser(LIMITS)
    reader = RequestReader(LIMITS, heads)
    for number in range(3 * REMEMBERED_MAX):
        reader.feed(b"GET /%d HTTP/1.1\r\nHost: t\r\n\r\n" % number)
        assert reader.next(0).path == f"/{number}"
        assert len(heads.remembered) <= REMEMBERED_MAX
    reader.feed(b"GET /%d HTTP/1.1\r\nHost: t\r\n\r\n" % number)
    assert reader.next(7).received_ns == 7
