"""Decodes the body of a chunked request strictly (RFC 9112, 7.1). Sans-I/O."""

from __future__ import annotations

import re
from enum import Enum, auto

from rdv.http import failure as fail
from rdv.http.failure import Failure
from rdv.http.limits import Limits

_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(;" + _TEXT + rb")?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:" + _TEXT)
_START = re.compile(rb"[0-9A-Fa-f]{1,16}(;" + _TEXT + rb")?\r?")
_TRAILER_START = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*(:" + _TEXT + rb")?\r?")


class _Expects(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()


class ChunkedBody:
    """Decodes a chunked body from buffers.

    llhttp is not used because it does not report where a message ended, and what follows in the
    buffer is the next request.

    Chunk extensions and trailers are checked, counted against `header_bytes_max` and dropped. Only
    CRLF is accepted: differences in leniency between servers make request smuggling possible.
    """

    __slots__ = ("_expects", "_left", "_limits", "_overhead", "body", "complete", "failure")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._expects = _Expects.SIZE
        self._left = 0
        self._overhead = 0
        self.body = bytearray()
        self.complete = False
        self.failure: Failure | None = None

    def take(self, buffer: bytes, at: int) -> int:
        """Consume `buffer` from `at`; return where it stopped.

        That is the end of the body, or the place where more bytes are needed. The caller then
        checks `complete` and `failure`.
        """
        while not self.complete and self.failure is None:
            if self._expects is _Expects.DATA:
                stop = min(at + self._left, len(buffer))
                self.body += memoryview(buffer)[at:stop]
                self._left -= stop - at
                at = stop
                if self._left:
                    break
                self._expects = _Expects.DATA_END
            elif self._expects is _Expects.DATA_END:
                end = buffer[at : at + 2]
                if end != b"\r\n":
                    if end not in (b"", b"\r"):
                        self.failure = fail.malformed("a chunk is longer than its size")
                    break
                at += 2
                self._expects = _Expects.SIZE
            else:
                following = self._line(buffer, at)
                if following < 0:
                    break
                at = following
        return at

    def _line(self, buffer: bytes, at: int) -> int:
        """Consume a size or trailer line; return the next position, or -1 without a line."""
        room = self._limits.header_bytes_max - self._overhead
        end = buffer.find(b"\r\n", at, at + room + 2)
        if end < 0:
            self._check_start(buffer[at : at + room + 2], room)
            return -1
        line = buffer[at:end]
        if self._expects is _Expects.SIZE:
            self._size(line)
        elif not line:
            self.complete = True
        elif _TRAILER.fullmatch(line) is None:
            self.failure = fail.malformed("a trailer is not a header line")
        else:
            self._overhead += len(line) + 2
        return end + 2

    def _size(self, line: bytes) -> None:
        matched = _SIZE.fullmatch(line)
        if matched is None:
            self.failure = fail.malformed("invalid chunk size")
            return
        digits, extension = matched.groups()
        self._overhead += len(extension or b"")
        self._left = int(digits, 16)
        if len(self.body) + self._left > self._limits.body_bytes_max:
            self.failure = fail.body_too_large(self._limits.body_bytes_max)
        self._expects = _Expects.DATA if self._left else _Expects.TRAILER

    def _check_start(self, start: bytes, room: int) -> None:
        """Refuse bytes that cannot become a valid line, without waiting for the line's end."""
        pattern = _START if self._expects is _Expects.SIZE else _TRAILER_START
        if start and pattern.fullmatch(start) is None:
            self.failure = fail.malformed("invalid chunk")
        elif len(start) > room:
            self.failure = fail.headers_too_large(self._limits.header_bytes_max)
