"""A request is also the object that the application answers with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rdv.http.coding import COMPRESSED_BYTES_MIN, compressed, wanted_coding
from rdv.http.failure import AnsweredTwice, Failure
from rdv.http.head import Head
from rdv.http.response import CLOSE, JSON, Headers, head_parts

Answer = tuple[int, bytes, bytes, Headers]
"""The status, body, content type and further headers."""

_NO_HEAD = Head(
    raw=b"",
    size=0,
    method="GET",
    target=b"",
    path="",
    query="",
    headers={},
    length=0,
    keep_alive=False,
    connection_line=CLOSE,
    expects=False,
)


class Carrier(Protocol):
    """The interface of a connection, which sends the answers. Called on the loop's thread."""

    peer: str
    """The address of the client's socket, without its port; empty when it has none."""
    client: str
    """As `peer`, for IPv6 the /64 network: the key that all connections of one client share."""
    is_trusted: bool
    """The peer is a trusted proxy, which names the client of each request."""

    def answered(self, request: Request) -> None:
        """Handle that `request.answer` has been set."""


class Request:
    """Represents a complete request. It belongs to its server's loop: answer it from there, once.

    `body` is the whole body, decompressed, while it is needed: it may be dropped once there is an
    answer.
    `received_ns` is when its last byte came, on the monotonic clock.
    """

    __slots__ = ("answer", "body", "carrier", "head", "received_ns", "token")

    def __init__(self, head: Head, body: bytes, received_ns: int) -> None:
        self.head = head
        self.body = body
        self.received_ns = received_ns
        self.answer: Answer | None = None
        self.carrier: Carrier | None = None
        self.token = ""
        """For the application, which uses it to find the request when the client leaves."""

    @property
    def method(self) -> str:
        return self.head.method

    @property
    def target(self) -> bytes:
        """Return the target as sent."""
        return self.head.target

    @property
    def path(self) -> str:
        """Return the path as sent (not percent-decoded), also of an absolute-form target."""
        return self.head.path

    @property
    def query(self) -> str:
        """Return the part after the "?", as sent; empty when there is none."""
        return self.head.query

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """Return the headers; names are in lower case, repeated values joined by ", "."""
        return self.head.headers

    @property
    def client(self) -> str:
        """Return the client; empty when it has gone.

        It is the address (for IPv6 the /64 network) of the connection, or what a trusted proxy
        names.
        """
        carrier = self.carrier
        if carrier is None:
            return ""
        return (self.head.client if carrier.is_trusted else "") or carrier.client

    @property
    def json_fault(self) -> Failure | None:
        """Return why the head rules out `body` as JSON; None when it does not."""
        return self.head.json_fault

    @property
    def connected(self) -> bool:
        """Return whether an answer is still needed: the client is there, and none was given."""
        return self.carrier is not None and self.answer is None

    @property
    def peer(self) -> str:
        """Return the address of the connection; empty when it has none, or has gone."""
        return "" if self.carrier is None else self.carrier.peer

    def header(self, name: bytes, default: bytes = b"") -> bytes:
        """Return the value of a header; `name` is in lower case."""
        return self.head.headers.get(name, default)

    def respond(
        self,
        status: int,
        body: bytes = b"",
        *,
        content_type: bytes = JSON,
        headers: Headers = (),
        may_compress: bool = False,
    ) -> None:
        """Answer, now or later, from any callback of the server's loop; never waits.

        With `may_compress` a large body is compressed if the client's Accept-Encoding asks for it.

        Harmless when the client has gone. Answers of one connection go out in the order of its
        requests, whatever the order of these calls. Raises AnsweredTwice, and InvalidHeader for a
        header that would break the response (the request can still be answered then).
        """
        if self.answer is not None:
            raise AnsweredTwice(self.method, self.target)
        if may_compress and len(body) >= COMPRESSED_BYTES_MIN:
            headers = (*headers, (b"Vary", b"Accept-Encoding"))
            if coding := wanted_coding(self.header(b"accept-encoding")):
                body = compressed(body, coding)
                headers = (*headers, (b"Content-Encoding", coding))
        if headers or content_type is not JSON:
            headers = tuple(headers)
            head_parts(status, 0, content_type, headers, b"", b"")
        self.answer = (status, body, content_type, headers)
        carrier = self.carrier
        if carrier is not None:
            carrier.answered(self)

    def fail(self, failure: Failure) -> None:
        """Answer with a refusal; otherwise as `respond`."""
        self.respond(failure.status, failure.body(), headers=failure.headers)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target!r}, {len(self.body)} bytes>"


class TracedRequest(Request):
    """Represents a request whose client has sent a `traceparent`.

    `trace` is its `traceparent` and `tracestate` as `rdv.trace_context` reads them, empty where
    they are invalid. `headers` does not have them.
    """

    __slots__ = ("trace",)

    def __init__(
        self, head: Head, body: bytes, received_ns: int, trace: tuple[str, str] = ("", "")
    ) -> None:
        # As the base does: a call of it takes longer than all of this.
        self.head = head
        self.body = body
        self.received_ns = received_ns
        self.answer = None
        self.carrier = None
        self.token = ""
        self.trace = trace


def refused(failure: Failure) -> Request:
    """Return a stand-in for a refused request, which keeps the order of answers."""
    request = Request(_NO_HEAD, b"", 0)
    request.answer = (failure.status, failure.body(), JSON, failure.headers)
    return request
