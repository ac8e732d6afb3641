"""What both clients have in common: settings, and what a call returns. Does no I/O."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from rdv.client.answer import Answer, own_default
from rdv.client.calls import (
    NOT_GIVEN,
    OUTCOMES_MAX,
    Attempts,
    Call,
    Failed,
    checked_timeout,
    checked_token,
    checked_url,
    outcomes_call,
    read_answer,
    read_answers,
)
from rdv.client.errors import InvalidCall, NoAnswer
from rdv.frames import outcome_rows

NO_KEYS_S = 60.0
"""How long no idempotency keys are made after the server had no room for another, in seconds."""


class ClientBase:
    """Holds the settings of a client. The token is in the connections only, never shown."""

    def __init__(
        self,
        url: str,
        token: str | None,
        timeout: float,
        retries: int,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self.url = checked_url(url)
        self.timeout = checked_timeout(timeout)
        """How long a call may take, with all its attempts, in seconds."""
        if retries < 0:
            raise InvalidCall(f"retries = {retries} is below 0")
        self.retries = retries
        self._headers = checked_token(token)
        self._context = ssl_context
        self._no_keys_until_s = 0.0
        self._is_closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}, timeout={self.timeout:g})"

    def __reduce__(self) -> Any:
        raise TypeError("a client has a token and connections: make one in each process")

    def _attempts(self, call: Call, timeout: float | None) -> tuple[Attempts, float]:
        """Return the attempts at a call, and when its timeout is over. Raises InvalidCall."""
        if self._is_closed:
            raise InvalidCall("this client is closed")
        now_s = time.monotonic()
        ends_s = now_s + (self.timeout if timeout is None else checked_timeout(timeout))
        if call.is_own_key and now_s < self._no_keys_until_s:
            call = call.without_key()
        return Attempts(self.url, call, self.retries, ends_s), ends_s

    def _delay_s(self, attempts: Attempts, failed: Failed) -> float:
        now_s = time.monotonic()
        try:
            return attempts.delay_s(failed, now_s)
        finally:
            if attempts.is_full:
                self._no_keys_until_s = now_s + NO_KEYS_S


def answer_of(address: str, body: bytes) -> Answer:
    """Return the answer of a reply. Raises NoAnswer for a reply that is not one of rdv."""
    reply = read_answer(body)
    if isinstance(reply, Failed):
        raise NoAnswer(address, reply.status, reply.code, reply.message, 1)
    return reply.answer()


def answers_of(address: str, body: bytes, count: int, default: Any, begun_s: float) -> list[Answer]:
    """Return the answers to several rows; the caller's default for one that has none.

    Raises NoAnswer for a reply that is not one of rdv, and for a row without answer and default.
    """
    replies = read_answers(body, count)
    if isinstance(replies, Failed):
        raise NoAnswer(address, replies.status, replies.code, replies.message, 1)
    answers = []
    for number, reply in enumerate(replies):
        if isinstance(reply, Failed):
            message = f"row {number}: {reply.message}"
            error = NoAnswer(address, reply.status, reply.code, message, 1)
            answers.append(or_default(error, default, begun_s))
        else:
            answers.append(reply.answer())
    return answers


def or_default(error: NoAnswer, default: Any, begun_s: float) -> Answer:
    """Return the caller's own default. Raises the error without one."""
    if default is NOT_GIVEN:
        raise error
    waited_ms = round((time.monotonic() - begun_s) * 1e3, 3)
    return own_default(default, error.server_code, error.text(), waited_ms)


def outcome_call(id_: str, value: Any, when: str | int | None) -> Call:
    """Return the call that reports one outcome. Raises InvalidCall, FrameUnusable."""
    row = next(iter(outcome_rows([{"id": id_, "outcome": value, "time": when}], *_NAMES)))
    return outcomes_call([_reported(row)])


_NAMES = ("id", "outcome", "time")


def _reported(row: Any) -> dict[str, Any]:
    found = {"id": row.id, "outcome": row.outcome}
    return found if row.time is None else {**found, "time": row.time}


def outcome_calls(given: Any, id_: str, outcome: str, when: str) -> Iterator[tuple[Call, int]]:
    """Yield calls that report all outcomes, and the number in each. See `outcome_rows`."""
    rows = map(_reported, outcome_rows(given, id_, outcome, when))
    while batch := list(islice(rows, OUTCOMES_MAX)):
        yield outcomes_call(batch), len(batch)
