"""Check the reading of `traceparent` and `tracestate` against the rules of W3C Trace Context."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rdv.trace_context import (
    STATE_BYTES_MAX,
    TraceHeaders,
    caller_of,
    child_headers,
    is_sampled,
    read_trace,
    read_traceparent,
    read_tracestate,
    span_id_of,
    trace_id_of,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (PARENT, PARENT),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-03", f"00-{TRACE}-{SPAN}-03"),
        (f"00-{TRACE}-{SPAN}-ff", f"00-{TRACE}-{SPAN}-03"),
        (f"cc-{TRACE}-{SPAN}-01", PARENT),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", PARENT),
        (f"cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like", ""),
        (f"cc-{TRACE}-{SPAN}-01-", PARENT),
        (f"00-{TRACE}-{SPAN}-01-", ""),
        (f"00-{TRACE}-{SPAN}-01-more", ""),
        (f"ff-{TRACE}-{SPAN}-01", ""),
        (f"00-{TRACE.upper()}-{SPAN}-01", ""),
        (f"00-{TRACE}-{SPAN.upper()}-01", ""),
        (f"00-{'0' * 32}-{SPAN}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE[1:]}-{SPAN}-01", ""),
        (f"00-{TRACE}0-{SPAN}-01", ""),
        (f"00-{TRACE}-{SPAN}-1", ""),
        (f"00-{TRACE}-{SPAN}", ""),
        (f"00_{TRACE}_{SPAN}_01", ""),
        (f"{PARENT}, {PARENT}", ""),
        (f"{PARENT}\n", ""),
        (f" {PARENT}", ""),
        ("", ""),
        ("é", ""),
    ],
)
def test_a_traceparent(raw, found):
    assert read_traceparent(raw.encode()) == found


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("foo=1", "foo=1"),
        ("foo=1,bar=2", "foo=1,bar=2"),
        ("foo=1 \t , \t bar=2, ", "foo=1,bar=2"),
        ("foo=1,,bar=2", "foo=1,bar=2"),
        ("fw529a3039@dt=FfAAAAB", "fw529a3039@dt=FfAAAAB"),
        ("0@a-_*/=!~", "0@a-_*/=!~"),
        ("foo=a b", "foo=a b"),
        ("foo=1,foo=2", ""),
        ("foo", ""),
        ("foo =1", ""),
        ("foo=", ""),
        ("=1", ""),
        ("FOO=1", ""),
        ("foo.bar=1", ""),
        ("1a=1,2=3", "1a=1,2=3"),
        ("foo@=1", "foo@=1"),
        ("foo@@bar=1", "foo@@bar=1"),
        ("@foo=1", ""),
        ("_foo=1", ""),
        ("foo=1=2", ""),
        ("foo=é", ""),
        ("foo=1\n", ""),
        ("z" * 256 + "=1", "z" * 256 + "=1"),
        ("z" * 257 + "=1", ""),
        ("t" * 241 + "@" + "v" * 14 + "=1", "t" * 241 + "@" + "v" * 14 + "=1"),
        ("t" * 242 + "@v=1", "t" * 242 + "@v=1"),
        ("t@" + "v" * 254 + "=1", "t@" + "v" * 254 + "=1"),
        ("t@" + "v" * 255 + "=1", ""),
        ("foo=" + "1" * 257, ""),
        (",".join(f"bar{n}=1" for n in range(32)), ",".join(f"bar{n}=1" for n in range(32))),
        (",".join(f"bar{n}=1" for n in range(33)), ""),
        ("", ""),
    ],
)  # fmt: skip
def test_a_tracestate(raw, found):
    assert read_tracestate(raw.encode()) == found


@given(st.lists(st.from_regex(r"[a-z][a-z0-9]{0,60}=[!-+]{1,200}", fullmatch=True), max_size=32))
def test_of_a_long_tracestate_large_members_are_left_out_first_then_the_last_ones(members):
    names = {member.split("=")[0] for member in members}
    found = read_tracestate(",".join(members).encode())
    if len(names) < len(members):
        assert found == ""
        return
    kept = found.split(",") if found else []
    assert kept == [member for member in members if member in kept]
    assert len(found) <= STATE_BYTES_MAX
    small = [member for member in members if len(member) <= 128]
    large = [member for member in members if len(member) > 128]
    kept_small = [member for member in kept if len(member) <= 128]
    kept_large = [member for member in kept if len(member) > 128]
    assert kept_small == small[: len(kept_small)]
    assert kept_large == large[: len(kept_large)]
    assert not kept_large or kept_small == small
    if len(kept) < len(members):  # no more than that is left out
        last = (small[len(kept_small) :] or large[len(kept_large) :])[0]
        assert len(found) + 1 + len(last) > STATE_BYTES_MAX


@given(st.binary(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"))
@example(b"00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-00")
def test_whatever_is_read_is_valid_and_reads_as_itself(raw):
    raw = raw.encode() if isinstance(raw, str) else raw
    found = read_traceparent(raw)
    if not found:
        assert caller_of(found) is None
        return
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]", found)
    assert read_traceparent(found.encode()) == found
    caller = caller_of(found)
    assert (caller.trace_id, caller.span_id) == (raw[3:35].decode(), raw[36:52].decode())
    assert int(caller.trace_id, 16)
    assert int(caller.span_id, 16)
    assert is_sampled(found) == bool(int(raw[53:55], 16) & 1)


def test_a_state_without_a_parent_is_ignored():
    assert read_trace(TraceHeaders(b"", b"foo=1")) == ("", "")
    assert read_trace(TraceHeaders(b"nonsense", b"foo=1")) == ("", "")
    assert read_trace(TraceHeaders(PARENT.encode(), b"foo=1")) == (PARENT, "foo=1")
    assert read_trace(TraceHeaders(PARENT.encode(), b"FOO=1")) == (PARENT, "")


@given(st.text(min_size=1, max_size=64), st.text(max_size=128))
def test_our_own_ids_are_valid_and_always_the_same(request_id, name):
    trace_id, span_id = trace_id_of(request_id, ""), span_id_of(request_id, name)
    assert read_traceparent(f"00-{trace_id}-{span_id}-00".encode())
    assert (trace_id, span_id) == (trace_id_of(request_id, ""), span_id_of(request_id, name))


def test_the_trace_of_a_request_is_the_callers_or_its_own_id():
    own = "0af7651916cd43dd8448eb211c80319c"
    assert trace_id_of(own, PARENT) == TRACE
    assert trace_id_of(own, "") == own
    assert trace_id_of("0" * 32, "") != "0" * 32


def test_a_child_has_the_same_trace_and_flags_and_another_parent():
    headers = dict(child_headers("id", "gbm", f"00-{TRACE}-{SPAN}-02", "foo=1"))
    span = span_id_of("id", "gbm")
    assert headers == {"traceparent": f"00-{TRACE}-{span}-02", "tracestate": "foo=1"}
    assert dict(child_headers("id", "gbm", PARENT, "")) == {"traceparent": f"00-{TRACE}-{span}-01"}
