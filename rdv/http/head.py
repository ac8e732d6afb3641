"""The head of a request: parsed by httptools, checked by us, remembered. Sans-I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import httptools

from rdv.http import failure as fail
from rdv.http.failure import Failure
from rdv.http.limits import Limits
from rdv.http.response import CLOSE, KEEP_ALIVE

METHODS = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}
"""The methods that are let through; CONNECT, TRACE and those of WebDAV and RTSP are not."""

CHUNKED = -1
"""In place of a length: the body comes in chunks."""

REMEMBERED_MAX = 512
REMEMBERED_BYTES_MAX = 2048

_SEND_BODIES = frozenset({"POST", "PUT", "PATCH"})
_ONCE = (b"host", b"content-length", b"content-type", b"expect")
_Lines = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Head:
    """What a head says. Shared by all requests that sent the same bytes, so it is immutable."""

    method: str
    target: bytes
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    length: int
    """Of the body in bytes, or CHUNKED."""
    keep_alive: bool
    connection_line: bytes
    """What the answer says about keeping the connection."""
    expects: bool
    """The client waits for 100 Continue before it sends its body."""


class HeadParser:
    """Heads from bytes. Shared by the connections of one server; not thread-safe.

    A client on a kept-alive connection sends the same head again and again, so the last few
    hundred are remembered: parsing is a pure function of the bytes. When the memory is full it
    is emptied, which needs no order to be kept while it is used.
    """

    __slots__ = ("_limits", "remembered")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.remembered: dict[bytes, Head] = {}

    def parse(self, raw: bytes) -> Head | Failure:
        """Parse a head: the bytes up to and with its empty line, and nothing before it."""
        found = self._parse(raw)
        if isinstance(found, Head) and len(raw) <= REMEMBERED_BYTES_MAX:
            if len(self.remembered) >= REMEMBERED_MAX:
                self.remembered.clear()
            self.remembered[raw] = found
        return found

    def _parse(self, raw: bytes) -> Head | Failure:
        collected = _Collected()
        try:
            collected.parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # an Upgrade is ignored, as RFC 9110 lets us: the answer is HTTP/1.1
        except httptools.HttpParserError as error:
            if not collected.complete:
                return explain(error)
        if not collected.complete:
            return fail.malformed("the request line has no HTTP version")
        return check(collected, self._limits)


class _Collected:
    """What httptools calls. One parser for each new head: there is no state to carry over."""

    __slots__ = ("complete", "keep_alive", "lines", "method", "parser", "target", "version")

    def __init__(self) -> None:
        self.target = b""
        self.lines: _Lines = []
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.lines.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        parser = self.parser
        self.method = parser.get_method()
        self.version = parser.get_http_version()
        self.keep_alive = parser.should_keep_alive()
        self.complete = True
        del self.parser  # it refers to us: no work for the cycle collector


def check(head: _Collected, limits: Limits) -> Head | Failure:  # noqa: PLR0911 - a list of refusals
    """The head as a value, or what is wrong with it.

    llhttp has refused what it can by itself: two Content-Lengths, a Content-Length beside a
    Transfer-Encoding, folded lines, spaces before a colon, control characters.
    """
    method, target = METHODS.get(head.method), head.target
    if head.version not in ("1.1", "1.0"):
        return fail.version_not_supported(head.version)
    if method is None:
        return fail.method_unknown(head.method)
    if len(target) > limits.target_bytes_max:
        return fail.target_too_long(limits.target_bytes_max)
    if len(head.lines) > limits.headers_max:
        return fail.too_many_headers(limits.headers_max)
    headers = _joined(head.lines)
    if isinstance(headers, Failure):
        return headers
    recent = head.version == "1.1"
    if recent and b"host" not in headers:
        return fail.bad_header("an HTTP/1.1 request needs a Host header", "Host")
    length = body_length(method, headers, limits.body_bytes_max, recent=recent)
    if isinstance(length, Failure):
        return length
    expect = headers.get(b"expect")
    if recent and expect is not None and expect.lower() != b"100-continue":
        return fail.expectation_failed(expect)
    keep = head.keep_alive
    return Head(
        method,
        target,
        *_split(target),
        MappingProxyType(headers),
        length,
        keep,
        CLOSE if not keep else b"" if recent else KEEP_ALIVE,
        recent and expect is not None and length != 0,
    )


def body_length(
    method: str, headers: dict[bytes, bytes], body_bytes_max: int, *, recent: bool
) -> int | Failure:
    """How long the body will be, or CHUNKED, or why it cannot be taken."""
    declared = headers.get(b"content-length")
    if declared is not None:
        length = int(declared)
        return length if length <= body_bytes_max else fail.body_too_large(body_bytes_max, length)
    coding = headers.get(b"transfer-encoding")
    if coding is None:
        return fail.length_required(method) if method in _SEND_BODIES else 0
    if coding.lower() != b"chunked":
        return fail.transfer_encoding_unknown(coding)
    if not recent:
        return fail.bad_header("HTTP/1.0 has no Transfer-Encoding", "Transfer-Encoding")
    return CHUNKED


def explain(error: httptools.HttpParserError) -> Failure:
    """The refusal for something that llhttp could not read."""
    reason = str(error)
    if "version" in reason or "PRI" in reason:
        return fail.version_not_supported(reason)
    if reason == "Content-Length overflow":
        return fail.Failure(413, "body_too_large", "the Content-Length is beyond all limits")
    return fail.malformed(reason)


def _joined(lines: _Lines) -> dict[bytes, bytes] | Failure:
    headers: dict[bytes, bytes] = {}
    for name, value in lines:
        if name not in headers:
            headers[name] = value
        elif name in _ONCE:
            title = name.decode().title()
            return fail.bad_header(f"{title} may be sent only once", title)
        else:
            headers[name] += b", " + value
    return headers


def _split(target: bytes) -> tuple[str, str]:
    """Path and query of a target in origin form, absolute form or "*"; not percent-decoded."""
    text = target.decode("latin-1")
    if text[:1] != "/" and "://" in text:
        rest = text.partition("://")[2]
        cut = min(at for at in (rest.find("/"), rest.find("?"), len(rest)) if at >= 0)
        text = rest[cut:] if rest[cut : cut + 1] == "/" else "/" + rest[cut:]
    path, _, query = text.partition("?")
    return path, query
