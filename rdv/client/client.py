"""Implement `rdv.Client`: ask a running decision from threads."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Mapping
from time import monotonic, sleep
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
from rdv.client.transport import DeadlineTransport


class Client(ClientBase):
    """A `Client` asks a running decision, and reports outcomes.

        with rdv.Client("http://127.0.0.1:8100") as client:
            answer = client.decide({"amount": 12.5}, key="user-42")
            client.outcome(answer.id, "fraud")

    Thread-safe: one client serves all threads of a process, over connections that are kept. After a
    fork the child makes connections of its own. A call is sent again only where it cannot be
    carried out twice (`rdv.client.calls`), and takes no longer than `timeout` seconds in all.

    token: sent as `Authorization: Bearer …`; never shown in texts, errors or logs.
    retries: how often a call is sent again at most.
    ssl_context: for https; the usual certificates without one.

    Proxies of the environment (`HTTP_PROXY`) are not used. Raises InvalidCall.
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
        self._by_process: dict[int, tuple[httpx.Client, DeadlineTransport]] = {}

    def decide(
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
        timeout: float | None = None,
    ) -> Answer:
        """Return the decision on `data`: any JSON, numpy values, a row as a mapping.

        key: whose request it is; determines cohort and partition. A whole number is taken as its
            decimal text.
        trace: also return which models had reported, and when.
        schedule: a schedule's name, or a whole schedule as a mapping, instead of the live one.
        models: ask only these models.
        deadline_ms: a shorter SLA for this request, in milliseconds.
        request_id: the caller's own name of it (`X-Request-Id`), recorded with it.
        idempotency_key: the caller's own; without one each call gets one.
        default: the answer when no server answers; `is_default` and `answered_by` mark it.
        timeout: in seconds, instead of the client's.

        Raises RequestRefused if the request must be changed, InvalidCall if it cannot be sent, and
        NoAnswer if no server answers and there is no default.
        """
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
            return answer_of(self.url, self._post(call, timeout))
        except NoAnswer as error:
            return or_default(error, default, begun_s)

    def decide_many(
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
        timeout: float | None = None,
    ) -> list[Answer]:
        """Return the decisions on several rows, in order; each is a decision of its own.

        They are one request to the server, up to `http.rows_max` of rdv.toml (100). keys: one for
        each row. The other arguments hold for all of them, as in `decide`. It is not sent again
        after the connection broke, unless an `idempotency_key` is given: it may have been decided.
        Raises what `decide` raises; with a default, rows without an answer get it.
        """
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
            body = self._post(call, timeout)
            return answers_of(self.url, body, len(rows), default, begun_s)
        except NoAnswer as error:
            return [or_default(error, default, begun_s) for _ in rows]

    def outcome(self, id: str, value: Any, *, time: str | int | None = None) -> None:  # noqa: A002
        """Report what turned out to be true of a request; None withdraws what was reported.

        time: since when it is known: ISO (UTC without a zone), a datetime, or ns since 1970.
        Raises RequestRefused, InvalidCall, NoAnswer.
        """
        self._post(outcome_call(id, value, time))

    def outcomes(
        self,
        given: Any,
        *,
        id: str = "id",  # noqa: A002
        outcome: str = "outcome",
        time: str = "time",
    ) -> int:
        """Report the outcomes of a frame, of pairs (id, outcome), or of mappings; return how many.

        A frame is anything with the Arrow C stream protocol: pandas, polars, pyarrow, DuckDB. `id`,
        `outcome` and `time` name its columns; that of the time may be missing. Rows without an
        outcome (null, NaN) are left out. They are sent in parts of 1,000, each of which may take
        the client's timeout; after an error the earlier parts are recorded. Reporting an outcome
        twice does no harm. Raises RequestRefused, InvalidCall, FrameUnusable, NoAnswer.
        """
        count = 0
        for call, size in outcome_calls(given, id, outcome, time):
            self._post(call)
            count += size
        return count

    def _post(self, call: Call, timeout: float | None = None) -> bytes:
        """Return the body of a reply with the status 2xx; see `decide` for what is raised."""
        attempts, ends_s = self._attempts(call, timeout)
        while True:
            attempts.left_s(monotonic())
            reply = self._attempt(attempts.call, ends_s)
            if not isinstance(reply, Failed):
                return reply
            sleep(self._delay_s(attempts, reply))

    def _attempt(self, call: Call, ends_s: float) -> bytes | Failed:
        """Send the call once."""
        client, transport = self._connected()
        transport.deadline.ends_s = ends_s
        try:
            with client.stream(
                "POST", self.url + call.path, content=call.body, headers=call.headers()
            ) as reply:
                body = bytearray()
                for part in reply.iter_raw():
                    body += part
                    if failed := too_large(body):
                        return failed
                return understood(reply.status_code, reply.headers, bytes(body))
        except Exception as error:
            if (failed := failed_by(error)) is None:
                raise
            return failed

    def _connected(self) -> tuple[httpx.Client, DeadlineTransport]:
        """Return this process's connections. A child of a fork never touches its parent's."""
        process = os.getpid()
        found = self._by_process.get(process)
        if found is None:
            context = self._context
            if context is None and self.url.startswith("https:"):
                context = httpx.create_ssl_context(trust_env=False)
            transport = DeadlineTransport(context)
            client = httpx.Client(transport=transport, headers=self._headers, trust_env=False)
            found = self._by_process.setdefault(process, (client, transport))
        return found

    def close(self) -> None:
        """Close the connections; later calls raise InvalidCall. May be called again."""
        self._is_closed = True
        found = self._by_process.get(os.getpid())
        if found is not None:
            found[0].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
