"""Implement `rdv.AsyncClient`: ask a running decision from asyncio."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Any, Self

import httpx

from rdv.client.answer import Answer
from rdv.client.base import (
    ClientBase,
    answer_of,
    answers_of,
    or_default,
    outcome_call,
    outcome_calls,
)
from rdv.client.calls import NOT_GIVEN, Call, Failed, decide_call, rows_call
from rdv.client.errors import NoAnswer
from rdv.client.replies import failed_by, too_large, understood
from rdv.client.transport import CONNECTIONS_MAX, IDLE_S


class AsyncClient(ClientBase):
    """An `AsyncClient` is a `Client` for asyncio: the same calls, to be awaited.

        async with rdv.AsyncClient("http://127.0.0.1:8100") as client:
            answer = await client.decide({"amount": 12.5}, key="user-42")

    For the tasks of one event loop at a time; in another loop, and in the child of a fork, it makes
    connections of its own. A call that is cancelled may have been carried out. See `Client` for the
    arguments. Raises InvalidCall.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout: float = 5.0,
        *,
        retries: int = 3,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(url, token, timeout, retries, ssl_context)
        self._own: tuple[int, asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None

    async def decide(
        self,
        data: Any,
        *,
        key: str | int | None = None,
        trace: bool = False,
        schedule: str | Mapping[str, Any] | None = None,
        models: Iterable[str] | None = None,
        deadline_ms: float | None = None,
        request_id: str = "",
        idempotency_key: str | None = None,
        default: Any = NOT_GIVEN,
        timeout: float | None = None,  # noqa: ASYNC109 - it bounds all attempts together
    ) -> Answer:
        """Return the decision on `data`; see `Client.decide`."""
        call = decide_call(
            data,
            key=key,
            trace=trace,
            schedule=schedule,
            models=models,
            deadline_ms=deadline_ms,
            request_id=request_id,
            idempotency_key=idempotency_key,
        )
        begun_s = monotonic()
        try:
            return answer_of(self.url, await self._post(call, timeout))
        except NoAnswer as error:
            return or_default(error, default, begun_s)

    async def decide_many(
        self,
        rows: Iterable[Any],
        *,
        keys: Iterable[str | int | None] | None = None,
        trace: bool = False,
        schedule: str | Mapping[str, Any] | None = None,
        models: Iterable[str] | None = None,
        deadline_ms: float | None = None,
        request_id: str = "",
        idempotency_key: str | None = None,
        default: Any = NOT_GIVEN,
        timeout: float | None = None,  # noqa: ASYNC109 - as in `decide`
    ) -> list[Answer]:
        """Return the decisions on several rows, in order; see `Client.decide_many`."""
        rows = list(rows)
        call = rows_call(
            rows,
            keys=keys,
            trace=trace,
            schedule=schedule,
            models=models,
            deadline_ms=deadline_ms,
            request_id=request_id,
            idempotency_key=idempotency_key,
        )
        begun_s = monotonic()
        try:
            body = await self._post(call, timeout)
            return answers_of(self.url, body, len(rows), default, begun_s)
        except NoAnswer as error:
            return [or_default(error, default, begun_s) for _ in rows]

    async def outcome(
        self,
        id: str,  # noqa: A002
        value: Any,
        *,
        time: str | int | None = None,
    ) -> None:
        """Report what turned out to be true of a request; see `Client.outcome`."""
        await self._post(outcome_call(id, value, time))

    async def outcomes(
        self,
        given: Any,
        *,
        id: str = "id",  # noqa: A002
        outcome: str = "outcome",
        time: str = "time",
    ) -> int:
        """Report the outcomes of a frame or an iterable; see `Client.outcomes`."""
        count = 0
        for call, size in outcome_calls(given, id, outcome, time):
            await self._post(call)
            count += size
        return count

    async def _post(self, call: Call, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Return the body of a reply with the status 2xx; see `decide` for what is raised."""
        attempts, ends_s = self._attempts(call, timeout)
        while True:
            attempts.left_s(monotonic())
            reply = await self._attempt(attempts.call, ends_s)
            if not isinstance(reply, Failed):
                return reply
            await asyncio.sleep(self._delay_s(attempts, reply))

    async def _attempt(self, call: Call, ends_s: float) -> bytes | Failed:
        """Send the call once."""
        client = self._connected()
        try:
            async with (
                asyncio.timeout(ends_s - monotonic()),
                client.stream(
                    "POST", self.url + call.path, content=call.body, headers=call.headers()
                ) as reply,
            ):
                body = bytearray()
                async for part in reply.aiter_raw():
                    body += part
                    if failed := too_large(body):
                        return failed
                return understood(reply.status_code, reply.headers, bytes(body))
        except Exception as error:
            if (failed := failed_by(error)) is None:
                raise
            return failed

    def _connected(self) -> httpx.AsyncClient:
        """Return the connections of this process and this loop."""
        process, loop = os.getpid(), asyncio.get_running_loop()
        own = self._own
        if own is None or own[0] != process or own[1] is not loop:
            verify: ssl.SSLContext | bool = self._context or self.url.startswith("https:")
            limits = httpx.Limits(
                max_connections=CONNECTIONS_MAX,
                max_keepalive_connections=CONNECTIONS_MAX,
                keepalive_expiry=IDLE_S,
            )
            client = httpx.AsyncClient(
                headers=self._headers,
                trust_env=False,
                verify=verify,
                limits=limits,
                timeout=None,  # noqa: S113 - `_attempt` bounds the whole call
            )
            own = self._own = process, loop, client
        return own[2]

    async def aclose(self) -> None:
        """Close the connections; later calls raise InvalidCall. May be called again."""
        self._is_closed = True
        own, self._own = self._own, None
        if own is not None and own[0] == os.getpid() and own[1] is asyncio.get_running_loop():
            await own[2].aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
