"""Finds the headers of W3C Trace Context in a head, and cuts their values out. Pure.

They differ in each request of a traced client. Without them its heads are the same bytes again, and
need not be parsed again: see `HeadParser`.
"""

from __future__ import annotations

import re

from rdv.trace_context import read_tracestate

NAMES = (b"traceparent", b"tracestate")

_LINE = b"raceparent: "
_USUAL = re.compile(
    rb"\r\n[Tt]raceparent: (00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01])\r\n"
)
_STATE_LINE = b"racestate: "
_STATE = re.compile(rb"\r\n[Tt]racestate: ([!-~](?:[ -~]*[!-~])?)\r\n")
_BEFORE = len(b"\r\nt")
VALUE_AT = _BEFORE + len(_LINE)
VALUE_END = VALUE_AT + 55

Cut = tuple[bytes, bytes, bytes]
"""A head without the values of its trace headers, and these; empty when there is no tracestate."""


def find_trace(raw: bytes, near: int = 0) -> int:
    """Return where the line of a `traceparent` in the usual form begins; -1 when there is none.

    The place `near` is tried first. The value is from VALUE_AT to VALUE_END behind the begin.
    """
    if _USUAL.match(raw, near) is not None:
        return near
    at = raw.find(_LINE) - _BEFORE
    return at if at >= 0 and _USUAL.match(raw, at) is not None else -1


def cut_trace(raw: bytes) -> Cut | None:
    """Cut the values out of a head; None when it has no valid `traceparent` in the usual form.

    The usual form has one space behind the colon, a name in lower case or with a capital letter,
    and version 00. A second header of a name stays in the rest.
    """
    at = find_trace(raw)
    if at < 0:
        return None
    begin, end = at + VALUE_AT, at + VALUE_END
    state = raw.find(_STATE_LINE) - _BEFORE
    if state < 0:
        return raw[:begin] + raw[end:], raw[begin:end], b""
    more = _STATE.match(raw, state)
    if more is None:
        return None
    state_begin, state_end = more.span(1)
    if state < at:
        rest = raw[:state_begin] + raw[state_end:begin] + raw[end:]
    else:
        rest = raw[:begin] + raw[end:state_begin] + raw[state_end:]
    return rest, raw[begin:end], more[1]


def read_usual(traceparent: bytes, tracestate: bytes) -> tuple[str, str]:
    """Return the values that `cut_trace` has found as `rdv.trace_context.read_trace` does."""
    return traceparent.decode(), read_tracestate(tracestate) if tracestate else ""
