"""Several rows of one request: each one is a request of its own to the proxy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from rdv.http import Failure
from rdv.serve.proxy.idempotency import KeyedRequest


class Asker(Protocol):
    """The client of a group: an HTTP request, or a call of gRPC."""

    received_ns: int
    token: str

    @property
    def client(self) -> str: ...

    @property
    def connected(self) -> bool: ...


class RowAnswer(NamedTuple):
    """Holds the answer to a row as the proxy gives it: status, body, and the headers of errors."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Row:
    """Represents one row to the proxy, which handles it as it would an HTTP request."""

    __slots__ = ("_group", "_number", "body", "is_answered")

    json_fault = None

    def __init__(self, group: Group, number: int, body: bytes) -> None:
        self._group, self._number = group, number
        self.body = body
        self.is_answered = False

    @property
    def received_ns(self) -> int:
        return self._group.asker.received_ns

    @property
    def client(self) -> str:
        return self._group.asker.client

    @property
    def connected(self) -> bool:
        """Return whether an answer is still needed."""
        return not self.is_answered and self._group.asker.connected

    @property
    def token(self) -> str:
        return self._group.asker.token

    @token.setter
    def token(self, token: str) -> None:
        """Add an id to those by which the proxy finds the rows when the client leaves."""
        asker = self._group.asker
        asker.token = f"{asker.token} {token}" if asker.token else token

    def respond(
        self,
        status: int,
        body: bytes = b"",
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        **_: Any,
    ) -> None:
        """Answer the row; the group is answered with its last one."""
        self.is_answered = True
        self._group.take(self._number, RowAnswer(status, body, tuple(headers)))

    def fail(self, failure: Failure) -> None:
        self.respond(failure.status, failure.body(), headers=failure.headers)


class Group:
    """Asks all rows, and calls `done` once with their answers in order. For the loop's thread."""

    def __init__(self, asker: Any, done: Callable[[list[RowAnswer]], None]) -> None:
        self.asker: Asker = asker
        self._done = done
        self._answers: list[RowAnswer | None] = []
        self._left = 0

    def ask(self, bodies: Sequence[bytes], decide: Callable[[Any], None]) -> None:
        """Pass each body to the proxy's `decide`."""
        self._answers = [None] * len(bodies)
        self._left = len(bodies)
        x_request_id = getattr(self.asker, "x_request_id", "")
        for number, body in enumerate(bodies):
            row: Any = Row(self, number, body)
            decide(KeyedRequest(row, x_request_id) if x_request_id else row)

    def take(self, number: int, answer: RowAnswer) -> None:
        self._answers[number] = answer
        self._left -= 1
        if not self._left:
            self._done([answer for answer in self._answers if answer is not None])


class RowBody(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The body of `POST /v1/decide` for one row; see `intake.Body`."""

    data: msgspec.Raw
    key: str | None = None
    schedule: str | None = None
    deadline_ms: float | None = None
    models: list[str] | None = None


encode_row = msgspec.json.Encoder().encode
