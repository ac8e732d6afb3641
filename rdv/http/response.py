"""Serializes responses from preformatted parts, which are joined once per write."""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

from rdv.http.failure import InvalidHeader

JSON = b"application/json"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
CLOSE = b"Connection: close\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Headers = Iterable[tuple[bytes, bytes]]

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
_BODILESS = frozenset({204, 304})
JSON_HEADS = {
    status: line + b"Content-Type: " + JSON + b"\r\nContent-Length: "
    for status, line in _STATUS_LINES.items()
    if status not in _BODILESS
}
"""The head of a JSON answer up to the length, by status."""
LENGTHS_MAX = 1024
LENGTHS = tuple(b"%d\r\n" % length for length in range(LENGTHS_MAX))
_BREAKS = frozenset(b"\r\n\0")
_SECOND_NS = 1_000_000_000


class DateLine:
    """Renders the Date header at most once a second, when it is needed."""

    __slots__ = ("due_ns", "ending", "line")

    def __init__(self) -> None:
        self.line = b""
        self.ending = b"\r\n"
        """The line and the empty line, which follow the length in most answers."""
        self.due_ns = 0

    def refresh(self, monotonic_ns: int, wall_ns: int) -> None:
        """Render it anew; call this when `monotonic_ns` has reached `due_ns`."""
        stamp = formatdate(wall_ns // _SECOND_NS, usegmt=True)
        self.line = f"Date: {stamp}\r\n".encode()
        self.ending = self.line + b"\r\n"
        # Due when the wall clock's second changes, so that the header is never a second behind.
        self.due_ns = monotonic_ns + _SECOND_NS - wall_ns % _SECOND_NS


def head_parts(
    status: int, length: int, content_type: bytes, headers: Headers, date: bytes, connection: bytes
) -> tuple[bytes, ...]:
    """Return the parts of a response's head with its empty line; `length` is that of the body.

    Raises InvalidHeader if a value would split the response, and KeyError for an unknown status.
    """
    if content_type is JSON and status in JSON_HEADS:
        start = JSON_HEADS[status]
        size = LENGTHS[length] if length < LENGTHS_MAX else b"%d\r\n" % length
    elif status in _BODILESS:
        start, size = _STATUS_LINES[status], b""
    else:
        _check(b"Content-Type", content_type)
        start = b"%bContent-Type: %b\r\n" % (_STATUS_LINES[status], content_type)
        size = b"Content-Length: %d\r\n" % length
    if headers:
        return (start, size, date, connection, _lines(headers), b"\r\n")
    return (start, size, date, connection, b"\r\n")


def has_body(status: int) -> bool:
    return status not in _BODILESS


def _lines(headers: Headers) -> bytes:
    for name, value in headers:
        _check(name, value)
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def _check(name: bytes, value: bytes) -> None:
    if not name or b":" in name or not _BREAKS.isdisjoint(name + value):
        raise InvalidHeader(name, value)
