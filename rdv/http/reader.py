"""Turns bytes into requests, one at a time, without a socket or a clock.

The reader finds the end of a head itself and passes the whole head to httptools. So it can stop
after any request (httptools cannot be paused), heads can be cached, every limit is exact, and the
way in which the network splits the bytes makes no difference. A chunked body is decoded strictly
(RFC 9112, 7.1), and a compressed one decompressed: applications see neither.
"""

from __future__ import annotations

import re
from enum import Enum, auto

import httptools

from rdv.http import failure as fail
from rdv.http.coding import decompressed
from rdv.http.failure import Failure
from rdv.http.head import Head, HeadParser, explain
from rdv.http.limits import Limits
from rdv.http.request import Request, TracedRequest
from rdv.http.trace import NAMES

_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(;" + _TEXT + rb")?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:" + _TEXT)
_START = re.compile(rb"[0-9A-Fa-f]{1,16}(;" + _TEXT + rb")?\r?")
_TRAILER_START = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*(:" + _TEXT + rb")?\r?")


_END = b"\r\n\r\n"

_CR, _LF = 13, 10

_EMPTY_LINES_MAX = 16

_REQUEST_LINE_REST = 40  # the longest method, " HTTP/1.1" and room


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


class RequestReader:
    """Assembles the requests of one connection. Not thread-safe.

    Call `feed`, then `next` until it returns None. When `failure` is set, the connection cannot be
    parsed any further; when `finished` is set, further bytes are ignored (after a failure, or after
    a request that was to be the last).
    """

    __slots__ = (
        "_at", "_body", "_buffer", "_chunked", "_empty_lines", "_expects_continue", "_head",
        "_heads", "_limits", "_previous", "_probe", "_probed", "_size", "_trace", "failure",
        "finished", "more", "stage_ns",
    )  # fmt: skip

    def __init__(self, limits: Limits, heads: HeadParser) -> None:
        self._limits = limits
        self._heads = heads
        self._buffer = b""
        self._at = 0
        self._head: Head | None = None
        self._previous: Head | None = None  # most clients send the same bytes again
        self._trace: tuple[str, str] | None = None  # of the request that is being read
        self._size = 0  # that of its head
        self._body = bytearray()
        self._chunked: ChunkedBody | None = None
        self._probe: httptools.HttpRequestParser | None = None
        self._probed = 0
        self._expects_continue = False
        self._empty_lines = 0
        self.failure: Failure | None = None
        self.finished = False
        self.more = False
        """False when every byte that was fed has been made into requests. Hot: an attribute."""
        self.stage_ns = 0
        """Since when the present stage (head, body) lasts; 0 when it is new. Set by the owner."""

    def change_limits(self, limits: Limits) -> None:
        """Apply to what is read from now on; the next head is parsed anew."""
        self._limits, self._previous = limits, None

    @property
    def in_body(self) -> bool:
        """Return whether the head has come, but not all of the body."""
        return self._head is not None

    @property
    def held_bytes(self) -> int:
        """Return the number of bytes of incomplete requests."""
        chunked = 0 if self._chunked is None else len(self._chunked.body)
        return len(self._buffer) - self._at + len(self._body) + chunked

    def take_continue(self) -> bool:
        """Return True once, if the client waits for 100 Continue before it sends its body."""
        waits, self._expects_continue = self._expects_continue, False
        return waits and self._head is not None and self._at >= len(self._buffer) and not self._body

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Call `next` until it returns None before feeding more, or the buffer grows.
        """
        if self.finished:
            return
        self._buffer = self._buffer[self._at :] + data if self.more else data
        self._at = 0
        self.more = True

    def next(self, now_ns: int) -> Request | None:
        """Return the next complete request, received at `now_ns`; None when there is none."""
        if not self.more:
            return None
        head = self._head
        if head is not None:
            return self._continue(head, now_ns)
        buffer, at = self._buffer, self._at
        if at >= len(buffer):
            self.more = False
            return None
        head = self._previous
        if head is None or not buffer.startswith(head.raw, at):
            head = self._find_head(buffer, at)
            if head is None:
                return None
            self._empty_lines = 0
            at = self._at
            if self._trace is None:
                self._previous = head
        self._probe = None
        is_traced = self._trace is not None  # its head has more bytes than the one remembered
        end = at + (self._size if is_traced else head.size)
        stop = end + head.length
        if stop > len(buffer) or not head.is_direct:
            return self._begin_body(head, end, now_ns)
        self._at = stop
        self.more = stop < len(buffer)
        self.stage_ns = 0
        if not head.keep_alive:
            self.end()
        body = buffer[end:stop]
        return self._request(head, body, now_ns) if is_traced else Request(head, body, now_ns)

    def _request(self, head: Head, body: bytes, now_ns: int) -> Request:
        trace = self._trace
        if trace is None:
            return Request(head, body, now_ns)
        self._trace = None
        return TracedRequest(head, body, now_ns, trace)

    def _find_head(self, buffer: bytes, at: int) -> Head | None:
        if buffer[at] <= _CR:
            at = self._skip_empty_lines(buffer, at)
            if at < 0:
                return None
        end = buffer.find(_END, at, at + self._limits.header_bytes_max) + len(_END)
        if end < len(_END):
            self._partial()
            return None
        raw = buffer[at:end]
        head = self._heads.remembered.get(raw)
        if head is not None:
            return head
        traced = self._heads.find_traced(raw)
        if traced is None:
            found = self._heads.parse(raw)
            if isinstance(found, Failure):
                self.end(found)
                return None
            if NAMES[0] not in found.headers:
                return found
            traced = self._heads.without_trace(raw, found)
        head, self._trace = traced
        self._size = len(raw)
        return head

    def forget_head(self) -> None:
        """Parse the next head anew, even if it has the same bytes."""
        self._previous = None

    def end(self, failure: Failure | None = None) -> None:
        """Discard all buffered bytes and ignore further ones."""
        if self.failure is None and failure is not None:
            head = self._head
            self.failure = failure if head is None else head.refusal(failure)
        self.finished = True
        self.more = False
        self._buffer, self._at, self._head = b"", 0, None
        self._body, self._chunked, self._probe = bytearray(), None, None

    def _begin_body(self, head: Head, at: int, now_ns: int) -> Request | None:
        self._at = at
        self._head = head
        self._body = bytearray()
        self._chunked = ChunkedBody(self._limits) if head.length < 0 else None
        self.stage_ns = 0
        self._expects_continue = head.expects
        return self._continue(head, now_ns)

    def _continue(self, head: Head, now_ns: int) -> Request | None:
        chunked, body = self._chunked, self._body
        if chunked is not None:
            self._at = chunked.take(self._buffer, self._at)
            if chunked.failure is not None:
                self.end(chunked.failure)
                return None
            if not chunked.complete:
                return None
            body = chunked.body
        else:
            stop = min(len(self._buffer), self._at + head.length - len(body))
            body += memoryview(self._buffer)[self._at : stop]
            self._at = stop
            if len(body) < head.length:
                return None
        whole = bytes(body)
        if head.coding:
            plain = decompressed(whole, head.coding, self._limits.body_bytes_max)
            if isinstance(plain, Failure):
                self.end(plain)
                return None
            whole = plain
        self._head = self._chunked = None
        self._body = bytearray()
        self.more = self._at < len(self._buffer)
        self.stage_ns = 0
        if not head.keep_alive:
            self.end()
        return self._request(head, whole, now_ns)

    def _skip_empty_lines(self, buffer: bytes, at: int) -> int:
        """Skip empty lines before a request (RFC 9112, 2.2); return -1 when no request follows yet.

        A single CR or LF is not an empty line: other servers may see a request there.
        """
        while buffer.startswith(b"\r\n", at):
            at += 2
            self._empty_lines += 1
        self._at = at
        rest = buffer[at : at + 2]
        if self._empty_lines > _EMPTY_LINES_MAX:
            self.end(fail.malformed(f"more than {_EMPTY_LINES_MAX} empty lines before a request"))
        elif not rest:
            self.more = False
        elif rest != b"\r":  # which may become an empty line
            if rest[0] not in (_CR, _LF):
                return at
            self.end(fail.malformed("a CR or LF alone before the request line"))
        return -1

    def _partial(self) -> None:
        """Check an incomplete head: refuse at once what cannot become a valid one."""
        limit = self._limits.header_bytes_max
        start = self._buffer[self._at : self._at + limit]
        if not start:
            self.more = False
            return
        if self._probe is None:
            self._probe, self._probed = httptools.HttpRequestParser(None), 0
        try:
            self._probe.feed_data(start[self._probed :])
        except httptools.HttpParserError as error:
            self.end(explain(error))
            return
        self._probed = len(start)
        if len(start) >= limit:
            line = start.partition(b"\r\n")[0]
            most = self._limits.target_bytes_max
            too_long = len(line) > most + _REQUEST_LINE_REST
            self.end(fail.target_too_long(most) if too_long else fail.headers_too_large(limit))
