"""What a head must be like before its body is read. Pure."""

from __future__ import annotations

from rdv.http import failure as fail
from rdv.http.failure import Failure

METHODS = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}
"""The methods that are let through; CONNECT, TRACE and those of WebDAV and RTSP are not."""

_SEND_BODIES = frozenset({"POST", "PUT", "PATCH"})
_ONCE = (b"host", b"content-length", b"content-type", b"expect")


def check_head(
    method: str,
    version: str,
    lines: list[tuple[bytes, bytes]],
    headers: dict[bytes, bytes],
    body_bytes_max: int,
) -> Failure | None:
    """What is wrong with a head, or None. Joins repeated lines in `headers`.

    llhttp has refused what it can by itself: two Content-Lengths, a Content-Length beside a
    Transfer-Encoding, folded lines, spaces before a colon, control characters.
    """
    if len(headers) != len(lines):
        found = _join_repeated(lines, headers)
        if found is not None:
            return found
    if version not in ("1.1", "1.0"):
        return fail.version_not_supported(version)
    if version == "1.1" and b"host" not in headers:
        return fail.bad_header("an HTTP/1.1 request needs a Host header", "Host")
    length = headers.get(b"content-length")
    if length is not None:
        declared = int(length)
        if declared > body_bytes_max:
            return fail.body_too_large(body_bytes_max, declared)
    elif b"transfer-encoding" in headers:
        coding = headers[b"transfer-encoding"]
        if coding.strip().lower() != b"chunked":
            return fail.transfer_encoding_unknown(coding)
        if version == "1.0":
            return fail.bad_header("HTTP/1.0 has no Transfer-Encoding", "Transfer-Encoding")
    elif method in _SEND_BODIES:
        return fail.length_required(method)
    expect = headers.get(b"expect")
    if expect is not None and version == "1.1" and expect.strip().lower() != b"100-continue":
        return fail.expectation_failed(expect)
    return None


def framing(headers: dict[bytes, bytes]) -> bytes | None:
    """The header line that says how long the body is; None when there is no body."""
    if b"transfer-encoding" in headers:
        return b"Transfer-Encoding: chunked"
    length = headers.get(b"content-length")
    if length is None or int(length) == 0:
        return None
    return b"Content-Length: %d" % int(length)


def _join_repeated(
    lines: list[tuple[bytes, bytes]], headers: dict[bytes, bytes]
) -> Failure | None:
    headers.clear()
    for name, value in lines:
        if name in headers and name in _ONCE:
            title = name.decode().title()
            return fail.bad_header(f"{title} may be sent only once", title)
        headers[name] = headers[name] + b", " + value if name in headers else value
    return None
