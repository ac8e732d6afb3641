"""Bytes in, requests out: no socket, no clock. httptools (llhttp) does the parsing."""

from __future__ import annotations

from collections import deque

import httptools

from rdv.http import failure as fail
from rdv.http.failure import Failure
from rdv.http.head import METHODS, check_head, framing
from rdv.http.limits import Limits
from rdv.http.request import Request
from rdv.http.response import CLOSE, KEEP_ALIVE

Bytes = bytes | memoryview


class _Stop(Exception):  # noqa: N818 - not an error: leaves the parser's callback
    """Raised in a callback to stop the parser; `RequestReader.failure` says why."""


class RequestReader:
    """Assembles the requests of one connection. Not thread-safe.

    `feed` appends complete requests to `ready`. When `failure` is set the connection cannot be
    understood any further; when `finished`, nothing that comes is looked at (a failure, or a
    request that was to be the last).
    """

    __slots__ = (
        "_body", "_headers", "_limits", "_now_ns", "_parser", "_request", "_target", "_unseen",
        "_upgraded", "continue_due", "failure", "finished", "in_body", "midway", "ready", "stage_ns",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self.ready: deque[Request] = deque()
        self.failure: Failure | None = None
        self.finished = False
        self.midway = False
        """A request has begun and is not complete."""
        self.in_body = False
        self.stage_ns = 0
        """For the owner: when the present stage (head, body) began; 0 when it is a new one."""
        self.continue_due = False
        """The client of the present request waits to be told to send its body."""
        self._limits = limits
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._request: Request | None = None
        self._body: bytes | bytearray = b""
        self._unseen = 0
        self._upgraded = False
        self._now_ns = 0
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)

    def feed(self, data: Bytes, now_ns: int) -> None:
        """Take the next bytes; `now_ns` becomes the `received_ns` of what they complete."""
        parser = self._parser
        if parser is None:
            return
        self._now_ns = now_ns
        # Bytes that no callback has told us of: an upper bound of what httptools keeps.
        self._unseen = self._unseen + len(data) if self.midway else len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._after_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._end(self.failure or explain(error))
        else:
            if self.midway and self._unseen > self._limits.header_bytes_max:
                self._end(self.failure or fail.headers_too_large(self._limits.header_bytes_max))

    def close(self) -> None:
        """Let go of the parser, which refers back to us: no work for the cycle collector."""
        self._parser = None
        self.finished = True
        self.midway = False

    def _end(self, failure: Failure | None) -> None:
        # After `Connection: close` llhttp complains of whatever follows; that is not a failure.
        if not self.finished:
            self.failure = failure
        self.close()

    # Callbacks of httptools, in the order in which they come.

    def on_message_begin(self) -> None:
        self.midway = True
        self.in_body = False
        self.stage_ns = 0
        self._target = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > self._limits.target_bytes_max:
            self._fail(fail.target_too_long(self._limits.target_bytes_max))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser, lines, limits = self._parser, self._headers, self._limits
        assert parser is not None
        self._headers = []  # from here on: trailers, which are counted and dropped
        if len(lines) > limits.headers_max:
            self._fail(fail.too_many_headers(limits.headers_max))
        method = METHODS.get(parser.get_method())
        if method is None:
            self._fail(fail.method_unknown(parser.get_method()))
        if self._unseen > limits.header_bytes_max:
            size = len(method) + len(self._target) + 12 + sum(len(n) + len(v) + 4 for n, v in lines)
            if size > limits.header_bytes_max:
                self._fail(fail.headers_too_large(limits.header_bytes_max))
        headers = dict(lines)
        keep = parser.should_keep_alive()
        # Without a Connection header only 1.1 is kept alive: the version need not be asked for.
        version = "1.1" if keep and b"connection" not in headers else parser.get_http_version()
        found = check_head(method, version, lines, headers, limits.body_bytes_max)
        if found is not None:
            self._fail(found)
        line = b"" if keep and version == "1.1" else KEEP_ALIVE if keep else CLOSE
        self._request = Request(
            method, self._target, headers, keep_alive=keep, connection_line=line
        )
        self._upgraded = (
            b"upgrade" in headers and parser.should_upgrade() and framing(headers) is not None
        )
        self.continue_due = b"expect" in headers and version == "1.1"
        self.in_body = True
        self.stage_ns = self._unseen = 0
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._unseen = 0
        if not self._body:
            self._body = body
        elif isinstance(self._body, bytearray):
            self._body += body
        else:
            self._body = bytearray(self._body) + body
        if len(self._body) > self._limits.body_bytes_max:
            self._fail(fail.body_too_large(self._limits.body_bytes_max))

    def on_chunk_header(self) -> None:
        self._unseen = 0

    def on_message_complete(self) -> None:
        request = self._request
        if self._upgraded or request is None:
            return  # llhttp believes that what follows is another protocol; it is our body
        body = self._body
        request.body = body if isinstance(body, bytes) else bytes(body)
        request.received_ns = self._now_ns
        self.midway = self.continue_due = False
        self._request = None
        self._body = b""
        if not request.keep_alive:
            self.finished = True
        elif self.finished:
            return
        self.ready.append(request)

    def _fail(self, failure: Failure) -> None:
        self.failure = failure
        raise _Stop

    def _after_upgrade(self, rest: Bytes) -> None:
        """Ignore an Upgrade, as RFC 9110 lets us, and go on with HTTP/1.1.

        llhttp leaves the body of such a request unread (the JDK's client sends its POSTs so). A
        new parser is given a head of the same framing, and then the body.
        """
        request = self._request
        if self._upgraded and request is not None:
            self._upgraded = False
            expects = self.continue_due
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(
                b"POST / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % framing(request.headers)
            )
            self._request, self.continue_due = request, expects
        if len(rest) and not self.finished:
            self.feed(rest, self._now_ns)


def explain(error: httptools.HttpParserError) -> Failure:
    """The refusal for something that llhttp could not read."""
    reason = str(error)
    if "version" in reason or "PRI" in reason:
        return fail.version_not_supported(reason)
    if reason == "Content-Length overflow":
        return fail.Failure(413, "body_too_large", "the Content-Length is beyond all limits")
    return fail.malformed(reason)
