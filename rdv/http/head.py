"""Parses the head of a request by httptools, checks it, and caches it. Sans-I/O.

`X-Request-Id` is the client's own id of a request, which is returned with the answer.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import httptools

from rdv.http import failure as fail
from rdv.http.access import ACCEPT_ALL, Access, Lines
from rdv.http.authority import Authority, parse_authority
from rdv.http.coding import coding_of
from rdv.http.failure import Failure
from rdv.http.limits import Limits
from rdv.http.media import json_fault
from rdv.http.response import CLOSE, KEEP_ALIVE
from rdv.http.trace import NAMES, VALUE_AT, VALUE_END, cut_trace, find_trace, read_usual
from rdv.trace_context import TraceHeaders, read_trace

HEADER = b"x-request-id"
CHARACTERS_MAX = 128

_ID = re.compile(rb"[!-~]{1,%d}" % CHARACTERS_MAX)


METHODS = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}
"""The methods that are accepted; CONNECT, TRACE and those of WebDAV and RTSP are not."""

CHUNKED = -1
"""The value of `Head.length` for a chunked body."""

REMEMBERED_MAX = 512

REMEMBERED_BYTES_MAX = 2048

_SEND_BODIES = frozenset({"POST", "PUT", "PATCH"})

_ONCE = (b"host", b"content-length", b"content-type", b"expect")

_REQUEST_LINE = re.compile(rb"[A-Z]+ [\x21\x22\x24-\x7e]+ HTTP/\d\.\d")
"""One space each, a target without a fragment (RFC 9112, 3). llhttp accepts more than that."""

_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)

_Lines = list[tuple[bytes, bytes]]

_ESCAPED = re.compile("%[0-9A-Fa-f]{2}")

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")


def is_request_id(raw: bytes) -> bool:
    """Return whether a value is valid: 1 to CHARACTERS_MAX visible ASCII characters."""
    return _ID.fullmatch(raw) is not None


def request_id_lines(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header line of a refusal; none when the request has no valid id, or two.

    `headers` has names in lower case.
    """
    found = [value for name, value in headers if name == HEADER]
    if len(found) != 1 or not is_request_id(found[0]):
        return ()
    return ((b"X-Request-Id", found[0]),)


@dataclass(frozen=True, slots=True)
class Head:
    """Holds a parsed head. Immutable: all requests that sent the same bytes share it."""

    raw: bytes
    size: int
    """`raw` is the bytes that it was parsed from, `size` their number."""
    method: str
    target: bytes
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    length: int
    """The length of the body in bytes, or CHUNKED."""
    keep_alive: bool
    connection_line: bytes
    """The Connection header line of the answer, empty if it needs none."""
    expects: bool
    """The client waits for 100 Continue before it sends its body."""
    plain: bool = False
    """HTTP/1.1, kept alive, not HEAD and without CORS, like nearly all requests."""
    cors: Lines = ()
    """CORS header lines of the answer, for a web page's browser."""
    json_fault: Failure | None = None
    """Why a body that comes with this head is not accepted as JSON."""
    client: str = ""
    """The client that a trusted proxy names; counts only if the peer is one."""
    coding: bytes = b""
    """The content coding of the body; empty when it has none, or there is no body."""
    is_direct: bool = True
    """The body is as long as `length` says, and needs no decoding."""

    def refusal(self, failure: Failure) -> Failure:
        """Return a refusal by the server itself as this request's client is to get it."""
        lines = self.cors + request_id_lines(self.headers.items())
        return failure.said_at(self.target).with_headers(lines)


class HeadParser:
    """Parses heads. Shared by the connections of one server; not thread-safe.

    A client on a kept-alive connection sends the same head again and again, so the last few hundred
    are cached: parsing is a pure function of the bytes. A full cache is emptied, which avoids
    keeping an order of use. Heads of traced clients differ in the values of two headers only, and
    are cached without these.
    """

    __slots__ = ("_access", "_limits", "_trace_at", "_traced", "remembered")

    def __init__(self, limits: Limits, access: Access = ACCEPT_ALL) -> None:
        self._limits = limits
        self._access = access
        self.remembered: dict[bytes, Head] = {}
        """The heads without a `traceparent`, by their bytes."""
        self._traced: dict[bytes, Head] = {}
        self._trace_at = 0
        """Where the last traced head had its `traceparent`: the next one is likely to be alike."""

    def use(self, access: Access) -> None:
        """Check heads by these access rules from now on."""
        self._access = access
        self._forget()

    def change_limits(self, limits: Limits) -> None:
        """Check heads by these limits from now on."""
        self._limits = limits
        self._forget()

    def _forget(self) -> None:
        self.remembered.clear()
        self._traced.clear()

    def find_traced(self, raw: bytes) -> tuple[Head, tuple[str, str]] | None:
        """Return the known head of a traced client, and the two values of `TracedRequest.trace`."""
        at = find_trace(raw, self._trace_at)
        if at < 0:
            return None
        self._trace_at = at
        begin, end = at + VALUE_AT, at + VALUE_END
        head = self._traced.get(raw[:begin] + raw[end:])
        if head is not None:
            return head, (raw[begin:end].decode(), "")
        cut = cut_trace(raw)  # perhaps with a tracestate
        if cut is None or (head := self._traced.get(cut[0])) is None:
            return None
        return head, read_usual(cut[1], cut[2])

    def without_trace(self, raw: bytes, found: Head) -> tuple[Head, tuple[str, str]]:
        """Return as `find_traced`, for a head that has just been parsed."""
        headers = dict(found.headers)
        trace = TraceHeaders(headers.pop(NAMES[0]), headers.pop(NAMES[1], b""))
        head = replace(found, headers=MappingProxyType(headers))
        cut = cut_trace(raw)
        # Where one of the two came twice, the parsed value has both, and the cut only one.
        if cut is not None and trace == cut[1:]:
            _remember(self._traced, cut[0], head)
        return head, read_trace(trace)

    def parse(self, raw: bytes) -> Head | Failure:
        """Parse a head: the bytes up to and with its empty line, and nothing before it."""
        found = self._parse(raw)
        if isinstance(found, Head) and NAMES[0] not in found.headers:
            _remember(self.remembered, raw, found)
        return found

    def _parse(self, raw: bytes) -> Head | Failure:
        collected = _Collected()
        try:
            collected.parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # an Upgrade is ignored, as RFC 9110 permits: the answer is HTTP/1.1
        except httptools.HttpParserError as error:
            if not collected.complete:
                return explain(error)
        if not collected.complete:
            if raw.startswith(b"PRI * HTTP/2.0"):  # llhttp waits for the rest of the preface
                return fail.version_not_supported("2.0")
            return fail.malformed("the request line is not complete")
        found = check(raw, collected, self._limits, self._access)
        if isinstance(found, Failure):
            lines = request_id_lines(collected.lines)
            return found.said_at(collected.target).with_headers(lines)
        return found


def _remember(known: dict[bytes, Head], raw: bytes, head: Head) -> None:
    if len(raw) <= REMEMBERED_BYTES_MAX:
        if len(known) >= REMEMBERED_MAX:
            known.clear()
        known[raw] = head


class _Collected:
    """Receives the callbacks of httptools.

    Each new head has its own parser, so no state is carried over.
    """

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
        del self.parser  # it refers to this object: no work for the cycle collector


def check(raw: bytes, head: _Collected, limits: Limits, access: Access) -> Head | Failure:
    """Check a parsed head; return it, or why it is refused.

    llhttp has already refused two Content-Lengths, a Content-Length with a Transfer-Encoding,
    folded lines, spaces before a colon, and control characters.
    """
    fault = _line_fault(raw, head, limits)
    if fault is not None:
        return fault
    headers = _joined(head.lines)
    if isinstance(headers, Failure):
        return headers
    method, recent, keep = METHODS[head.method], head.version == "1.1", head.keep_alive
    place = _place(method, head.target, headers.get(b"host"), recent=recent)
    if isinstance(place, Failure):
        return place
    path, query, authorities = place
    cors = access.judge(path, headers, authorities)
    if isinstance(cors, Failure):
        return cors
    body = _body(method, headers, limits.body_bytes_max, recent=recent)
    if isinstance(body, Failure):
        return body.with_headers(cors)
    length, coding = body
    return Head(
        raw,
        len(raw),
        method,
        head.target,
        path,
        query,
        MappingProxyType(headers),
        length,
        keep,
        CLOSE if not keep else b"" if recent else KEEP_ALIVE,
        recent and b"expect" in headers and length != 0,
        recent and keep and method != "HEAD" and not cors,
        cors,
        json_fault(headers),
        access.forwarded(headers),
        coding,
        length >= 0 and not coding,
    )


def _line_fault(raw: bytes, head: _Collected, limits: Limits) -> Failure | None:
    """Return what is wrong with the request line, or with the number of header lines."""
    if head.version not in ("1.1", "1.0"):
        return fail.version_not_supported(head.version)
    if head.method not in METHODS:
        return fail.method_unknown(head.method)
    if _REQUEST_LINE.fullmatch(raw, 0, raw.find(b"\r\n")) is None:
        return fail.malformed("the request line is not METHOD TARGET HTTP/1.1, one space between")
    if len(head.target) > limits.target_bytes_max:
        return fail.target_too_long(limits.target_bytes_max)
    if len(head.lines) > limits.headers_max:
        return fail.too_many_headers(limits.headers_max)
    return None


def _body(
    method: str, headers: dict[bytes, bytes], body_bytes_max: int, *, recent: bool
) -> tuple[int, bytes] | Failure:
    """Return the length and the content coding of the body; also refuse unknown expectations."""
    length = body_length(method, headers, body_bytes_max, recent=recent)
    if isinstance(length, Failure):
        return length
    coding = coding_of(headers) if length else b""
    if isinstance(coding, Failure):
        return coding
    expect = headers.get(b"expect")
    if recent and expect is not None and expect.lower() != b"100-continue":
        return fail.expectation_failed(expect)
    return length, coding


def body_length(
    method: str, headers: dict[bytes, bytes], body_bytes_max: int, *, recent: bool
) -> int | Failure:
    """Return the length of the body, or CHUNKED, or why it is refused."""
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
    """Return the refusal for an error of llhttp."""
    reason = str(error)
    if reason in {"Invalid HTTP version", "Pause on PRI/Upgrade"}:
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


def _place(
    method: str, target: bytes, host: bytes | None, *, recent: bool
) -> tuple[str, str, list[Authority]] | Failure:
    """Return path and query of a target, and the authorities that the request names.

    The target is in origin form, absolute form or "*". The path stays percent-encoded, but for
    unreserved characters. The authorities are those of the target and of the Host header.
    """
    authorities: list[Authority] = []
    if target[:1] != b"/" and not (target == b"*" and method == "OPTIONS"):
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            return fail.malformed("the target is neither a path nor an http URI")
        authority = parse_authority(absolute[1])
        if authority is None:
            return fail.malformed("the target's authority is not HOST or HOST:PORT")
        authorities.append(authority)
        target = absolute[2] if absolute[2][:1] == b"/" else b"/" + absolute[2]
    if host is None and recent:
        return fail.bad_header("an HTTP/1.1 request needs a Host header", "Host")
    if host is not None:
        authority = parse_authority(host)
        if authority is None:
            return fail.bad_header("Host is not HOST or HOST:PORT", "Host")
        authorities.append(authority)
    path, _, query = target.decode("latin-1").partition("?")
    if "%" in path:
        path = _ESCAPED.sub(_plain, path)
    return path, query, authorities


def _plain(escaped: re.Match[str]) -> str:
    """Decode an unreserved character; its escape means the same (RFC 3986, 2.3)."""
    letter = chr(int(escaped[0][1:], 16))
    return letter if letter in _UNRESERVED else escaped[0]
