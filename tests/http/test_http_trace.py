"""Check that requests with trace headers are read as if each head were parsed by itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.http.head import REMEMBERED_MAX, HeadParser
from rdv.http.limits import Limits
from rdv.http.reader import RequestReader
from rdv.http.request import Request, TracedRequest

LIMITS = Limits()
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
OTHER = f"00-{TRACE[::-1]}-{SPAN[::-1]}-00"

LINES = [
    f"traceparent: {PARENT}",
    f"traceparent: {OTHER}",
    f"Traceparent: {OTHER}",
    f"TRACEPARENT:{PARENT}",
    f"traceparent:   {PARENT}  ",
    f"traceparent: cc-{TRACE}-{SPAN}-01-more",
    f"traceparent: 00-{'0' * 32}-{SPAN}-01",
    f"traceparent: {PARENT}x",
    "traceparent: ",
    "traceparent: nonsense",
    f"x-traceparent: {PARENT}",
    "tracestate: foo=1",
    "tracestate: foo=1,bar=2",
    "Tracestate: congo=t61rcWkgMzE",
    "tracestate: ",
    "tracestate: FOO",
    "x-tracestate: foo=1",
    "X-Request-Id: mine",
    "Accept: */*",
]


def message(lines, body=b"{}"):
    head = ["POST /v1/decide HTTP/1.1", "Host: t", *lines, f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def facts(request):
    trace = request.trace if type(request) is TracedRequest else None
    headers = {name: value for name, value in request.headers.items() if name[:5] != b"trace"}
    return trace, headers, request.path, request.body


def read(reader, parts):
    found = []
    for part in parts:
        reader.feed(part)
        while (request := reader.next(0)) is not None:
            found.append(facts(request))
    failure = reader.failure
    return found, failure and (failure.status, failure.code)


def new_reader(heads=None):
    return RequestReader(LIMITS, heads or HeadParser(LIMITS))


lines = st.lists(st.sampled_from(LINES), max_size=5)
messages = st.builds(message, lines, st.sampled_from([b"{}", b"{ }", b""]))


@settings(max_examples=300, deadline=None)
@given(st.lists(messages, min_size=1, max_size=8), st.data())
def test_neither_memory_nor_splits_make_a_difference(asked, data):
    alone = [read(new_reader(), [one])[0][0] for one in asked]
    whole = b"".join(asked)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=9)))
    parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    heads = HeadParser(LIMITS)
    for _ in range(2):  # the second time all heads are remembered
        assert read(new_reader(heads), parts) == (alone, None)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=70), st.sampled_from(["traceparent: ", "tracestate: "]))
def test_any_value_is_refused_or_read_as_by_the_parser(value, name):
    usual = [f"traceparent: {PARENT}", "tracestate: foo=1"]
    before = b"POST / HTTP/1.1\r\nHost: t\r\n"
    own = name.encode() + value
    other = f"traceparent: {OTHER}".encode() if name[5] == "s" else b"tracestate: bar=2"
    raw = before + b"\r\n".join([other, own, b"Content-Length: 2", b"", b"{}"])
    heads = HeadParser(LIMITS)
    for one in usual, usual[::-1]:
        read(new_reader(heads), [message(one)])
    assert read(new_reader(heads), [raw]) == read(new_reader(), [raw])


@pytest.mark.parametrize("state", ["", "tracestate: foo=1", "tracestate: foo=1,bar=2"])
def test_a_head_that_differs_in_its_trace_only_is_parsed_once(monkeypatch, state):
    parsed = []
    parse = HeadParser._parse
    monkeypatch.setattr(HeadParser, "_parse", lambda s, raw: parsed.append(raw) or parse(s, raw))
    reader = new_reader()
    for number in range(1, 50):
        parent = f"00-{number:032x}-{number:016x}-01"
        values = [f"traceparent: {parent}", state.replace("1", str(number))]
        reader.feed(message([value for value in values if value]))
        request = reader.next(0)
        assert request.trace == (parent, state[12:].replace("1", str(number)))
        assert (request.path, request.body) == ("/v1/decide", b"{}")
    assert len(parsed) == 1


def test_a_request_without_a_trace_is_a_plain_one():
    reader = new_reader()
    reader.feed(message([f"traceparent: {PARENT}"]) + message([]) + message(["tracestate: a=1"]))
    kinds = [type(reader.next(0)) for _ in range(3)]
    assert kinds == [TracedRequest, Request, Request]


def test_a_trace_does_not_leak_into_the_next_request():
    reader = new_reader()
    whole = message([f"traceparent: {PARENT}"], b"12345") + message(["Accept: */*"])
    found, _ = read(reader, [whole[:-60], whole[-60:]])
    assert [trace for trace, *_ in found] == [(PARENT, ""), None]


def test_two_parents_are_none():
    for pair in ([PARENT, PARENT], [PARENT, OTHER], [OTHER, ""], ["", PARENT]):
        found, _ = read(new_reader(), [message([f"traceparent: {value}" for value in pair])])
        assert found[0][0] == ("", "")


def test_two_states_are_one():
    lines = [f"traceparent: {PARENT}", "tracestate: foo=1", "tracestate: bar=2"]
    assert read(new_reader(), [message(lines)])[0][0][0] == (PARENT, "foo=1,bar=2")


def test_what_is_remembered_is_bounded():
    heads = HeadParser(LIMITS)
    reader = new_reader(heads)
    for number in range(2 * REMEMBERED_MAX + 7):
        reader.feed(message([f"traceparent: {PARENT}", f"X-Request-Id: {number}"]))
        assert reader.next(0).trace == (PARENT, "")
    assert 0 < len(heads._traced) <= REMEMBERED_MAX
    assert not heads.remembered
    heads.change_limits(LIMITS)
    assert not heads._traced
