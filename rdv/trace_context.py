"""Read and write the headers of W3C Trace Context: `traceparent` and `tracestate`. Pure.

    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    tracestate: congo=t61rcWkgMzE,rojo=00f067aa0ba902b7

Source: https://www.w3.org/TR/trace-context/ (levels 1 and 2). A `traceparent` that the standard
calls invalid is ignored, with its `tracestate`; an invalid `tracestate` is ignored by itself.

The ids of our own spans are derived from the id of the request, so that every process knows them
without asking another one, and exporting a request again makes the same spans.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import NamedTuple

STATE_BYTES_MAX = 512
"""How much of a `tracestate` is passed on, as the standard recommends.

Of what is longer, members of more than _LARGE_BYTES are left out first, then the last ones.
"""

STATE_MEMBERS_MAX = 32

_LARGE_BYTES = 128
_RECEIVED_BYTES_MAX = 8_192

_PARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?"
)

_KEY = rb"[a-z0-9][a-z0-9_\-*/@]{0,255}"
"""By level 2, which takes all keys of level 1."""
_MEMBER = re.compile(_KEY + rb"=[ -+\--<>-~]{0,255}[!-+\--<>-~]")

_KNOWN_FLAGS = 0x03
"""Sampled, and (level 2) that the trace id is random; all others are reset."""

_SAMPLED = 0x01

_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")


class TraceHeaders(NamedTuple):
    """Holds the two headers of a request as they were received; empty when there is none."""

    traceparent: bytes
    tracestate: bytes = b""


class TraceContext(NamedTuple):
    """Holds the trace that a request belongs to: its id, the caller's span, and its flag."""

    trace_id: str
    span_id: str
    is_sampled: bool


def read_traceparent(raw: bytes) -> str:
    """Return a `traceparent` in version 00, with the flags that we know; empty when invalid."""
    found = _PARENT.fullmatch(raw)
    if found is None:
        return ""
    version, trace_id, span_id, flags, more = found.groups()
    if more is not None and version == b"00":
        return ""
    if version == b"00" and flags in (b"00", b"01"):
        return raw.decode()
    known = int(flags, 16) & _KNOWN_FLAGS
    return f"00-{trace_id.decode()}-{span_id.decode()}-{known:02x}"


def read_tracestate(raw: bytes) -> str:
    """Return the members of a `tracestate` up to STATE_BYTES_MAX; empty when it is invalid."""
    if _MEMBER.fullmatch(raw):  # most have one member
        return raw.decode()
    if not raw or len(raw) > _RECEIVED_BYTES_MAX:
        return ""
    members = [member for part in raw.split(b",") if (member := part.strip(b" \t"))]
    if len(members) > STATE_MEMBERS_MAX or not all(map(_MEMBER.fullmatch, members)):
        return ""
    if len({member.partition(b"=")[0] for member in members}) < len(members):
        return ""
    return b",".join(_cut(members)).decode()


def _cut(members: list[bytes]) -> list[bytes]:
    """Return members, in their order, that have STATE_BYTES_MAX together."""
    size = sum(map(len, members)) + len(members) - 1
    if size <= STATE_BYTES_MAX:
        return members
    left_out = set()
    for at in sorted(range(len(members)), key=lambda n: (len(members[n]) <= _LARGE_BYTES, -n)):
        left_out.add(at)
        size -= len(members[at]) + 1
        if size <= STATE_BYTES_MAX:
            break
    return [member for at, member in enumerate(members) if at not in left_out]


def read_trace(headers: TraceHeaders) -> tuple[str, str]:
    """Return a request's `traceparent` and `tracestate` as they are recorded."""
    traceparent = read_traceparent(headers.traceparent)
    if not traceparent or not headers.tracestate:
        return traceparent, ""
    return traceparent, read_tracestate(headers.tracestate)


def caller_of(traceparent: str) -> TraceContext | None:
    """Return the trace and span of a recorded `traceparent`; None when there is none."""
    found = _PARENT.fullmatch(traceparent.encode()) if traceparent else None
    if found is None:
        return None
    _, trace_id, span_id, flags, _ = found.groups()
    return TraceContext(trace_id.decode(), span_id.decode(), bool(int(flags, 16) & _SAMPLED))


def is_sampled(traceparent: str) -> bool:
    """Return whether the caller of a recorded `traceparent` records its trace."""
    caller = caller_of(traceparent)
    return caller is not None and caller.is_sampled


def trace_id_of(request_id: str, traceparent: str) -> str:
    """Return the id of a request's trace: the caller's, or the request's own id."""
    if (caller := caller_of(traceparent)) is not None:
        return caller.trace_id
    if _ID.fullmatch(request_id):
        return request_id
    return blake2b(request_id.encode(), digest_size=16, person=b"rdv trace").hexdigest()


def span_id_of(request_id: str, name: str) -> str:
    """Return the id of a request's span: "" is the request's own, others are those of models."""
    text = f"{request_id}\n{name}".encode()
    found = blake2b(text, digest_size=8, person=b"rdv span").hexdigest()
    return found if found.strip("0") else "0" * 15 + "1"


def child_headers(
    request_id: str, name: str, traceparent: str, tracestate: str
) -> tuple[tuple[str, str], ...]:
    """Return the headers of what is asked for a request, as a child of its span `name`."""
    parts = traceparent.split("-")
    parts[2] = span_id_of(request_id, name)
    lines = (("traceparent", "-".join(parts)),)
    return (*lines, ("tracestate", tracestate)) if tracestate else lines
