"""One request, which is also the token that the application answers with."""

from __future__ import annotations

from typing import Protocol

from rdv.http.errors import AnsweredTwice
from rdv.http.failure import Failure
from rdv.http.response import CLOSE, JSON, Headers, head_parts


class Carrier(Protocol):
    """What carries answers back: the connection. Called on the loop's thread."""

    def answered(self, request: Request) -> None:
        """`request.answer` has been set."""


Answer = tuple[int, bytes, bytes, Headers]
"""Status, body, content type, further headers."""


class Request:
    """A complete request. Belongs to the loop of its server: answer it from there, once.

    `headers` have lower-case names; the values of a repeated one are joined by ", ".
    `received_ns` is when its last byte came, on the monotonic clock.
    """

    __slots__ = (
        "answer",
        "body",
        "carrier",
        "connection_line",
        "headers",
        "keep_alive",
        "method",
        "received_ns",
        "target",
    )

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: dict[bytes, bytes],
        *,
        keep_alive: bool = True,
        connection_line: bytes = b"",
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = b""
        self.received_ns = 0
        self.keep_alive = keep_alive
        self.connection_line = connection_line
        self.answer: Answer | None = None
        self.carrier: Carrier | None = None

    @property
    def path(self) -> str:
        """The path as sent (not percent-decoded), also of an absolute-form target."""
        path, _, _ = self._origin().partition(b"?")
        return path.decode("latin-1")

    @property
    def query(self) -> str:
        """What follows the "?", as sent; empty when there is none."""
        _, _, query = self._origin().partition(b"?")
        return query.decode("latin-1")

    @property
    def connected(self) -> bool:
        """False when nobody is left to read an answer (or it was given): skip the work."""
        return self.carrier is not None and self.answer is None

    def header(self, name: bytes, default: bytes = b"") -> bytes:
        """The value of a header; `name` in lower case."""
        return self.headers.get(name, default)

    def respond(
        self, status: int, body: bytes = b"", *, content_type: bytes = JSON, headers: Headers = ()
    ) -> None:
        """Answer, now or later, from any callback of the server's loop; never waits.

        Harmless when the client has gone. Answers of one connection go out in the order of its
        requests, whatever the order of these calls. Raises AnsweredTwice, and InvalidHeader for
        a header that would break the response (the request is then still to be answered).
        """
        if self.answer is not None:
            raise AnsweredTwice(self.method, self.target)
        if headers or content_type is not JSON:
            headers = tuple(headers)
            head_parts(status, 0, content_type, headers, b"", b"")
        self.answer = (status, body, content_type, headers)
        carrier = self.carrier
        if carrier is not None:
            carrier.answered(self)

    def fail(self, failure: Failure) -> None:
        """Answer with a refusal; as `respond`."""
        self.respond(failure.status, failure.body(), headers=failure.headers)

    def _origin(self) -> bytes:
        target = self.target
        if target[:1] == b"/" or b"://" not in target:
            return target
        _, _, rest = target.partition(b"://")
        cut = min(at for at in (rest.find(b"/"), rest.find(b"?"), len(rest)) if at >= 0)
        return rest[cut:] if rest[cut : cut + 1] == b"/" else b"/" + rest[cut:]

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target!r}, {len(self.body)} bytes>"


def refused(failure: Failure) -> Request:
    """The stand-in for a request that is refused: it takes its place in the order of answers."""
    request = Request("GET", b"", {}, keep_alive=False, connection_line=CLOSE)
    request.answer = (failure.status, failure.body(), JSON, failure.headers)
    return request
