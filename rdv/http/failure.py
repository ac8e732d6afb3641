"""Refusals of the HTTP server (a status, and a JSON body with a code); errors of its program."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Self

import orjson

from rdv.codes import HttpCode
from rdv.errors import InputFault, UsageFault

_OIP_TARGET = re.compile(rb"(https?://[^/?]*)?/v2(?![^/?])", re.IGNORECASE)

_AGAIN = ((b"Retry-After", b"1"),)

_CODINGS = ((b"Accept-Encoding", b"gzip, deflate"),)


def error_body(code: HttpCode, message: str, **fields: Any) -> bytes:
    """Return the body that all errors share: {"error": {"code", "message", ...fields}}.

    `code` is for programs and never changes, `message` is for people; `fields` are the values that
    the message mentions (bytes are shown as Latin-1).
    """
    return orjson.dumps({"error": {"code": code, "message": message, **fields}}, default=_plain)


def _plain(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else repr(value)


@dataclass(frozen=True)
class Failure:
    """Represents a refusal, for `Request.fail` and for the server's own refusals."""

    status: int
    code: HttpCode
    message: str
    fields: dict[str, Any] = field(default_factory=dict)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    is_text: bool = False
    """The body is `{"error": "…", "code": "…"}`, the form of the Open Inference Protocol."""

    def body(self) -> bytes:
        if self.is_text:
            return orjson.dumps({"error": self.message, "code": self.code})
        return error_body(self.code, self.message, **self.fields)

    def said_at(self, target: bytes) -> Self:
        """Return a copy in the form that the clients of this target read."""
        return replace(self, is_text=True) if _OIP_TARGET.match(target) else self

    def with_headers(self, lines: tuple[tuple[bytes, bytes], ...]) -> Self:
        """Return a copy with further header lines."""
        return replace(self, headers=self.headers + lines) if lines else self


def malformed(reason: str) -> Failure:
    return Failure(400, "malformed_request", f"this is not an HTTP/1.1 request: {reason}")


def bad_header(reason: str, name: str) -> Failure:
    return Failure(400, "bad_header", reason, {"header": name})


def truncated() -> Failure:
    return Failure(400, "truncated_request", "the request ended before it was complete")


def foreign_origin(origin: bytes) -> Failure:
    page = f"pages of {origin[:100].decode('latin-1')}" if origin else "this web page"
    message = f"{page} may not call this server: http.origins lists those that may"
    return Failure(403, "foreign_origin", message, {"origin": origin[:100]})


def not_found(path: str) -> Failure:
    return Failure(404, "not_found", f"there is nothing at {path}", {"path": path})


def method_not_allowed(method: str, path: str, allow: str) -> Failure:
    return Failure(
        405,
        "method_not_allowed",
        f"{path} does not take {method}, only {allow}",
        {"path": path, "method": method, "allow": allow},
        ((b"Allow", allow.encode()),),
    )


def too_slow(part: str, limit_ms: int) -> Failure:
    message = f"the {part} of the request did not arrive within {limit_ms} ms"
    return Failure(408, "request_timeout", message, {"part": part, "limit_ms": limit_ms})


def length_required(method: str) -> Failure:
    message = f"{method} needs a Content-Length or Transfer-Encoding: chunked"
    return Failure(411, "length_required", message, {"method": method})


def body_too_large(limit: int, declared: int | None = None) -> Failure:
    sizes = {"limit_bytes": limit}
    # Only a number that fits the 64 bits of common JSON parsers is returned to the client.
    if declared is not None and declared < 2**63:
        sizes["declared_bytes"] = declared
    return Failure(413, "body_too_large", f"the body is larger than {limit} bytes", sizes)


def target_too_long(limit: int) -> Failure:
    message = f"the request target is longer than {limit} bytes"
    return Failure(414, "target_too_long", message, {"limit_bytes": limit})


def content_coding_unknown(coding: bytes) -> Failure:
    message = "the Content-Encoding is unknown: send gzip, deflate, or the body as it is"
    fields = {"content_encoding": coding}
    return Failure(415, "content_coding_unknown", message, fields, _CODINGS)


def malformed_coding(coding: str, reason: str) -> Failure:
    return Failure(400, "malformed_request", f"the body is not valid {coding}: {reason}")


def expectation_failed(expect: bytes) -> Failure:
    message = "only Expect: 100-continue is known"
    return Failure(417, "expectation_failed", message, {"expect": expect})


def misdirected(host: str) -> Failure:
    message = f"this server is not {host[:100]}: http.hosts lists the names that it has"
    return Failure(421, "misdirected_request", message, {"host": host[:100]})


def headers_too_large(limit: int) -> Failure:
    message = f"the head of the request is larger than {limit} bytes"
    return Failure(431, "headers_too_large", message, {"limit_bytes": limit})


def too_many_headers(limit: int) -> Failure:
    return Failure(431, "too_many_headers", f"more than {limit} headers", {"limit": limit})


def internal_error() -> Failure:
    return Failure(500, "internal_error", "the server failed to handle this request")


def method_unknown(method: bytes) -> Failure:
    return Failure(501, "method_unknown", "this method is not served here", {"method": method})


def transfer_encoding_unknown(value: bytes) -> Failure:
    message = "of transfer encodings only chunked is known"
    return Failure(501, "transfer_encoding_unknown", message, {"transfer_encoding": value})


def too_many_connections(limit: int) -> Failure:
    message = f"of {limit} connections there is none left for this client"
    return Failure(503, "too_many_connections", message, {"limit": limit}, _AGAIN)


def too_many_bytes(limit: int) -> Failure:
    message = f"more than {limit} bytes of incomplete requests wait for their rest"
    return Failure(503, "too_many_bytes", message, {"limit_bytes": limit}, _AGAIN)


def not_answered(limit_ms: int) -> Failure:
    message = f"the server did not answer this request within {limit_ms} ms"
    return Failure(503, "not_answered", message, {"limit_ms": limit_ms})


def version_not_supported(version: str) -> Failure:
    message = "only HTTP/1.1 and HTTP/1.0 are spoken here"
    return Failure(505, "version_not_supported", message, {"version": version})


class InvalidLimit(InputFault):
    """A limit is not a number in its range."""

    key: str
    reason: str

    _text = "limit {key}: {reason}"


class AnsweredTwice(UsageFault):
    """The application answered one request twice; one of the answers belongs to another client."""

    method: str
    target: bytes

    _text = "{method} {target!r} was answered twice"


class InvalidHeader(UsageFault):
    """A response header would break the response apart (a line break, a NUL, no name)."""

    name: bytes
    value: bytes

    _text = "{name!r}: {value!r} cannot be sent as a response header"


class ServerStarted(UsageFault):
    """A server was started twice."""

    _text = "this HttpServer has been started already; make another one"
