"""Several rows in one request: each is a decision of its own, and the answers come together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from rdv.http import Failure
from rdv.rendezvous.messages import Idempotency


def rows_body(answers: Iterable[bytes]) -> bytes:
    """Return the body of the answer to several rows."""
    return b'{"answers":[%b]}\n' % b",".join(one.rstrip(b"\n") for one in answers)


class ManyRows:
    """Collects the answers of the rows of one HTTP request. For the loop's thread."""

    def __init__(self, http: Any, token: str, count: int, done: Callable[[], object]) -> None:
        """`http` is the HTTP request, or the `KeyedRequest` that wraps it; `token` identifies it.

        `done` is called with the last answer.
        """
        self._done = done
        self.http = http
        self.token = token
        self.count = count
        self.open: dict[str, None] = {}
        """The ids of the rows that are in flight."""
        self._answers: list[bytes] = [b""] * count
        self._left = count

    def answered(self, number: int, body: bytes) -> None:
        """Keep the answer of a row; with the last one, answer the request."""
        self._answers[number] = body
        self._left -= 1
        if not self._left:
            self._done()
            self.http.respond(200, rows_body(self._answers))


class RowOfMany:
    """Is the HTTP request of one row, for the code that answers single requests."""

    __slots__ = ("_id", "_many", "_number", "body", "client", "idempotency", "received_ns",
                 "trace", "x_request_id")  # fmt: skip

    def __init__(self, many: ManyRows, number: int, body: bytes) -> None:
        http = many.http
        self.body = body
        self.client: str = http.client
        self.received_ns: int = getattr(http, "received_ns", 0)
        self.x_request_id: str = getattr(http, "x_request_id", "")
        self.trace: tuple[str, str] = getattr(http, "trace", ("", ""))
        self.idempotency: Idempotency | None = None
        if (mark := getattr(http, "idempotency", None)) is not None:
            self.idempotency = msgspec.structs.replace(
                mark, batch=many.token, row=number, rows=many.count
            )
        self._many = many
        self._number = number
        self._id = ""

    @property
    def connected(self) -> bool:
        """Return whether an answer is still needed."""
        return bool(self._many.http.connected)

    @property
    def token(self) -> str:
        """Return the id of the row's request."""
        return self._id

    @token.setter
    def token(self, id_: str) -> None:
        self._id = id_
        self._many.open[id_] = None

    def respond(self, status: int, body: bytes = b"", **more: Any) -> None:
        """Give the row its answer; the status of the whole is 200."""
        del status, more
        self._many.open.pop(self._id, None)
        self._many.answered(self._number, body)

    def fail(self, failure: Failure) -> None:
        """Give the row an error in place of its answer."""
        self.respond(failure.status, failure.body())
