"""The proxy checks requests and writes them to the input stream, where the models read them.

Requests of one turn of the loop go to the log as one batch. Everything here belongs to the loop's
thread.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from rdv.clock import Clock
from rdv.coded import coded
from rdv.codes import ResultCode
from rdv.decision.schema import OnInvalid
from rdv.decision.schema_check import Checked, SchemaChecker
from rdv.decision.schema_tree import FAULTS_MAX, Fault
from rdv.decision.streams import Streams
from rdv.errors import RdvError
from rdv.http import Failure
from rdv.http import Request as HttpRequest
from rdv.http.request import TracedRequest
from rdv.rendezvous.deadlines import GRACE_NS
from rdv.rendezvous.messages import Idempotency, Request
from rdv.rendezvous.model_selection import ModelSelection
from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.schedule.cohort import Cohorts
from rdv.serve.batches import REQUESTS
from rdv.serve.outbox import LOCK_WAIT_MS, Outbox
from rdv.serve.proxy.answering import Answering
from rdv.serve.proxy.enricher import Enricher, EnricherChain
from rdv.serve.proxy.idempotency import KeyedRequest
from rdv.serve.proxy.in_flight import BYTES_MAX, InFlight, OpenRequest, counted_bytes
from rdv.serve.proxy.intake import (
    ABSENT,
    Body,
    ChosenSchedule,
    RequestOptions,
    ScheduleChoice,
    read_body,
    read_models,
    read_rows,
)
from rdv.serve.proxy.rows import ManyRows, RowOfMany
from rdv.stream.errors import RecordTooLarge

log = logging.getLogger("rdv.proxy")

INVALID_CHARACTERS_MAX = 500
"""The maximum length of what a record says about invalid data."""

ROWS_ENRICHED_AT_ONCE = 16
"""How many rows of one request wait for the enricher, which has 64 places for all."""

_DRAINING = Failure(
    503,
    "draining",
    "this proxy is stopping: ask another one, or again in a moment",
    headers=((b"Retry-After", b"1"),),
)


@dataclass(frozen=True)
class Settings:
    """Holds the settings of a proxy from the decision's rdv.toml."""

    name: str
    partitions: int
    in_flight_max: int
    default_when_full: bool
    client_share: float = 1.0
    in_flight_bytes_max: int = BYTES_MAX
    on_invalid: OnInvalid = "reject"
    rows_max: int = 100


class _Prepared(NamedTuple):
    """Holds a checked row of several."""

    body: Body
    wanted: RequestOptions
    invalid: str


_Headers = tuple[str, Idempotency | None, str, str]
"""`x_request_id`, `idempotency`, `traceparent` and `tracestate` of a request."""

_NO_HEADERS: _Headers = ("", None, "", "")


def _headers_of(asker: Any) -> _Headers:
    """Return the headers of a traced request, one with a key, or a row of several."""
    kind = type(asker)
    if kind is TracedRequest:
        return "", None, *asker.trace
    traceparent, tracestate = getattr(asker, "trace", ("", ""))
    if kind is KeyedRequest or kind is RowOfMany:
        return asker.x_request_id, asker.idempotency, traceparent, tracestate
    return "", None, traceparent, tracestate


def bad_input(faults: Sequence[Sequence[Fault]]) -> Failure:
    """Return the refusal of data that does not fit the schema; `faults` are those of each row."""
    found = [
        Fault(fault.path if len(faults) == 1 else f"rows[{number}].{fault.path}", fault.reason)
        for number, row in enumerate(faults)
        for fault in row
    ]
    more = f"; and {len(found) - FAULTS_MAX} more" if len(found) > FAULTS_MAX else ""
    message = f"invalid input: {'; '.join(map(str, found[:FAULTS_MAX]))}{more}"
    shown = [{"path": fault.path, "reason": fault.reason} for fault in found[:FAULTS_MAX]]
    return Failure(422, "bad_input", message, {"faults": shown})


def marked_invalid(request: Request, why: str) -> Request:
    """Return a request whose record says what of its data is invalid."""
    return msgspec.structs.replace(request, invalid=why[:INVALID_CHARACTERS_MAX])


class Proxy(Answering):
    """Takes `POST /v1/decide`; its base class answers. See the module."""

    def __init__(
        self,
        settings: Settings,
        streams: Streams,
        choice: ScheduleChoice,
        cohorts: Cohorts,
        model_selection: ModelSelection,
        ids: Iterator[str],
        *,
        host: str,
        clock: Clock,
        enricher: EnricherChain | Enricher | None = None,
    ) -> None:
        self.settings = settings
        self.choice = choice
        self.cohorts = cohorts
        self.model_selection = model_selection
        self.is_draining = False
        self.schema: SchemaChecker | None = None
        """Checks the data of requests; None: nothing is declared."""
        self._ids = ids
        self._host = host
        self._clock = clock
        self._enricher = enricher
        self._batch: list[OpenRequest] = []
        # Made now, so that models and servers know it before the first request is in it.
        streams.input.make_topic(settings.name)
        self._requests = Outbox(
            streams.input.producer(),
            clock,
            "requests",
            keep_ms=LOCK_WAIT_MS,
            is_slow=streams.input.config.fsync == "always",
        )
        in_flight = InFlight(
            settings.in_flight_max, settings.client_share, settings.in_flight_bytes_max
        )
        super().__init__(settings.name, in_flight, streams, clock)

    def change_settings(self, settings: Settings) -> None:
        """Apply to requests that come from now on; the name and the partitions stay."""
        self.settings = settings
        self.in_flight.limit(
            settings.in_flight_max, settings.client_share, settings.in_flight_bytes_max
        )

    def change_enricher(self, enricher: EnricherChain | Enricher | None) -> None:
        """Use it from now on; requests that wait for the old enricher still get it."""
        old, self._enricher = self._enricher, enricher
        if old is not None:
            old.retire()

    def decide(self, http: HttpRequest) -> None:
        """Handle `POST /v1/decide`."""
        self.counts.requests += 1
        if (failure := _DRAINING if self.is_draining else http.json_fault) is not None:
            self._refuse(http, failure)
            return
        body = read_body(http.body)
        if isinstance(body, Failure):
            self._decide_rows(http, body)
            return
        wanted = self._options(body)
        if isinstance(wanted, Failure):
            self._refuse(http, wanted)
            return
        schedule, invalid = wanted.chosen.schedule, ""
        if self.schema is not None:
            body, checked = self._checked(body)
            if checked is not None:
                if self.settings.on_invalid == "reject":
                    self._refuse(http, bad_input([checked.faults]))
                    return
                invalid = checked.text()
        request = self._request(http, body, wanted)
        if invalid:
            if not self._passes(http, request, schedule, invalid):
                return
            request = marked_invalid(request, invalid)
        self._go_on(http, request, schedule)

    def _go_on(self, http: HttpRequest, request: Request, schedule: Schedule) -> None:
        """Have the models asked, after the enricher."""
        if self._enricher is None or not self.in_flight.admits(
            http.client, counted_bytes(http.body)
        ):
            self._accept(http, request, schedule)
        else:
            self._enricher.enrich(request, http.client, partial(self._enriched, http, schedule))

    def _checked(self, body: Body) -> tuple[Body, Checked | None]:
        """Return the body with its defaults, and its faults if it has any."""
        assert self.schema is not None
        checked = self.schema.check(body.data)
        if not isinstance(checked, Checked):
            return body, None
        if checked.data is not body.data:
            body = msgspec.structs.replace(body, data=checked.data)
        return body, checked if checked.faults else None

    def _passes(self, http: HttpRequest, request: Request, schedule: Schedule, why: str) -> bool:
        """Return whether the models are to see invalid data; if not, answer the default."""
        if self.settings.on_invalid == "pass":
            return True
        entry = self._open(http, request, schedule, 0)
        self.answer_default(entry, "bad_input", f"invalid input: {why[:INVALID_CHARACTERS_MAX]}")
        self._loop.call_soon(self.own_answers.flush)
        return False

    # Several rows.

    def _decide_rows(self, http: HttpRequest, failure: Failure) -> None:
        """Decide the rows of a body that is not a single request, or refuse it.

        It is refused as a whole, before anything is recorded.
        """
        bodies: list[Body] | Failure | None = failure
        if failure.code in ("invalid_request", "nested_too_deeply"):
            bodies = read_rows(http.body, self.settings.rows_max) or failure
        if isinstance(bodies, Failure) or bodies is None:
            self._refuse(http, bodies or failure)
            return
        self.counts.requests += len(bodies) - 1
        rows = self._prepared(bodies)
        if isinstance(rows, Failure):
            self._refuse(http, rows)
            return
        sizes = [counted_bytes(bytes(row.body.data)) for row in rows]
        if not self.settings.default_when_full and not self.in_flight.admits_all(
            http.client, sizes
        ):
            self._refuse(http, self._no_room(len(sizes)))
            return
        http.token = token = f"rows/{next(self._ids)}"
        many = ManyRows(http, token, len(rows), lambda: self.many.pop(token, None))
        self.many[token] = many
        self._take_rows(many, rows)

    def _prepared(self, bodies: list[Body]) -> list[_Prepared] | Failure:
        """Return the rows with their schedules, checked; a Failure for the whole."""
        first = bodies[0]
        shared: RequestOptions | Failure | None = None
        if first.schedule is not ABSENT or not self.cohorts.shares:
            shared = self._options(first)
        rows: list[_Prepared] = []
        faults: list[Sequence[Fault]] = []
        for row in bodies:
            wanted = self._options(row) if shared is None else shared
            if isinstance(wanted, Failure):
                return wanted
            body, checked = (row, None) if self.schema is None else self._checked(row)
            faults.append(checked.faults if checked else ())
            rows.append(_Prepared(body, wanted, checked.text() if checked else ""))
        if self.settings.on_invalid == "reject" and any(faults):
            return bad_input(faults)
        return rows

    def _take_rows(self, many: ManyRows, rows: list[_Prepared]) -> None:
        to_enrich: list[tuple[Any, Schedule, Request]] = []
        for number, row in enumerate(rows):
            http: Any = RowOfMany(many, number, bytes(row.body.data))
            schedule = row.wanted.chosen.schedule
            request = self._request(http, row.body, row.wanted)
            if row.invalid:
                if not self._passes(http, request, schedule, row.invalid):
                    continue
                request = marked_invalid(request, row.invalid)
            if self._enricher is None:
                self._accept(http, request, schedule)
            else:
                to_enrich.append((http, schedule, request))
        left = iter(to_enrich)
        for _ in range(ROWS_ENRICHED_AT_ONCE):
            self._enrich_next(left)

    def _enrich_next(self, left: Iterator[tuple[Any, Schedule, Request]]) -> None:
        """Enrich one of the rows that are left; they share the enricher's places."""
        for http, schedule, request in left:
            if self._enricher is None:  # removed meanwhile
                self._accept(http, request, schedule)
                continue
            done = partial(self._row_enriched, left, http, schedule)
            self._enricher.enrich(request, http.client, done)
            return

    def _row_enriched(
        self,
        left: Iterator[tuple[Any, Schedule, Request]],
        http: Any,
        schedule: Schedule,
        request: Request,
    ) -> None:
        self._enriched(http, schedule, request)
        self._loop.call_soon(self._enrich_next, left)

    def _options(self, body: Body) -> RequestOptions | Failure:
        """Return the schedule and the models of a request."""
        if body.schedule is ABSENT and body.models is ABSENT and not self.cohorts.shares:
            return self.choice.usual
        cohort: str | None = None
        asked: Any = None
        id_, propensity = "", None
        chosen = None if body.schedule is ABSENT else self.choice.read(body.schedule)
        if isinstance(chosen, ChosenSchedule):
            asked = chosen.asked
        elif chosen is None:
            if self.cohorts.explores:
                id_ = next(self._ids)
                cohort, asked, propensity = self.cohorts.drawn(body.key, id_)
            else:
                cohort, asked = self.cohorts.of(body.key)
            chosen = self.choice.choose(asked)
        if isinstance(chosen, Failure):
            return chosen
        models = None if body.models is ABSENT else read_models(body.models)
        if isinstance(models, Failure):
            return models
        if models is not None and (failure := self.model_selection.check(models)) is not None:
            return failure
        return RequestOptions(chosen, asked, cohort, models, id_, propensity)

    def _request(self, http: HttpRequest, body: Body, wanted: RequestOptions) -> Request:
        chosen, asked, cohort, models, drawn_id, propensity = wanted
        deadline_ms = chosen.schedule.sla_ms
        if body.deadline_ms is not None and body.deadline_ms < deadline_ms:
            deadline_ms = body.deadline_ms
        id_ = drawn_id or next(self._ids)
        not_asked: list[str] = []
        if models is not None or not self.model_selection.asks_all:
            not_asked = self.model_selection.not_asked(id_, cohort, models)
        if type(http) is HttpRequest:
            x_request_id, idempotency, traceparent, tracestate = _NO_HEADERS
        else:
            x_request_id, idempotency, traceparent, tracestate = _headers_of(http)
        return Request(
            id_,
            self._clock.wall_ns(),
            self._host,
            http.received_ns,
            self.settings.name,
            body.data,
            body.key,
            asked,
            cohort,
            deadline_ms,
            body.trace,
            chosen.windows_ms,
            not_asked,
            x_request_id,
            idempotency,
            propensity,
            models is not None and bool(not_asked),
            "",
            traceparent,
            tracestate,
        )

    def reopen(
        self, client: KeyedRequest | RowOfMany, request: Request, partition: int, since_ns: int
    ) -> None:
        """Open again a request from before the proxy's start that is not answered.

        It was asked at `since_ns` on this process's clock. When its time is over, it gets the
        default.
        """
        chosen = self.choice.choose(request.schedule)
        if isinstance(chosen, Failure):
            chosen = self.choice.choose(None)
        assert isinstance(chosen, ChosenSchedule)
        start_ns = request.monotonic_ns if request.host == self._host else since_ns
        request = msgspec.structs.replace(request, host=self._host, monotonic_ns=start_ns)
        size = counted_bytes(bytes(request.data))
        entry = self._open(client, request, chosen.schedule, size)  # type: ignore[arg-type]
        self.in_flight.take(msgspec.structs.replace(entry, partition=partition))
        self._set_aside(request.id)  # its client has gone with the proxy before
        self._set_timer()

    def _open(
        self, http: HttpRequest, request: Request, schedule: Schedule, size: int
    ) -> OpenRequest:
        deadline_ms = request.deadline_ms or schedule.sla_ms
        backstop_ns = request.monotonic_ns + int(deadline_ms * 1e6) + GRACE_NS
        partition = 0
        if self.settings.partitions > 1:
            partition = crc32((request.key or request.id).encode()) % self.settings.partitions
        return OpenRequest(http, request, schedule, partition, backstop_ns, http.client, size)

    def _enriched(self, http: HttpRequest, schedule: Schedule, request: Request) -> None:
        if http.connected:
            took_ms = (self._clock.monotonic_ns() - request.monotonic_ns) / 1e6
            request = msgspec.structs.replace(request, enriched_ms=round(took_ms, 3))
            self._accept(http, request, schedule)
        else:
            self.counts.gone += 1

    def _accept(self, http: HttpRequest, request: Request, schedule: Schedule) -> None:
        entry = self._open(http, request, schedule, counted_bytes(http.body))
        if not self.in_flight.admits(entry.holder, entry.size):
            self._overflow(entry)
            return
        self.in_flight.take(entry)
        http.token = request.id
        if not self._batch:
            self._loop.call_soon(self._flush)
        self._batch.append(entry)

    def _flush(self) -> None:
        """Write the requests of this turn of the loop, as one batch for each partition."""
        batch, self._batch = self._batch, []
        if self.settings.partitions == 1:
            self.ask_models(0, batch)
        else:
            by_partition: dict[int, list[OpenRequest]] = {}
            for entry in batch:
                by_partition.setdefault(entry.partition, []).append(entry)
            for partition, entries in by_partition.items():
                self.ask_models(partition, entries)
        self._set_timer()

    def ask_models(self, partition: int, entries: list[OpenRequest]) -> None:
        """Write the requests to the log, where the models read them."""
        lines = REQUESTS.write([entry.request for entry in entries])
        done = partial(self._sent, entries)
        if failed := self._requests.send(self.settings.name, lines, partition, done):
            self._not_logged([(entries[number], error) for number, error in failed.items()])

    def _sent(self, entries: list[OpenRequest], failed: dict[int, RdvError]) -> None:
        """Pass on, from a thread, which waiting requests could not be logged."""
        if failed:
            news = [(entries[number], error) for number, error in failed.items()]
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._not_logged, news)

    def _not_logged(self, failed: list[tuple[OpenRequest, RdvError]]) -> None:
        """Answer the default, as no model will see these in time.

        (A leading part may be in the log; its results come too late.)
        """
        if not self.counts.unlogged:
            why = failed[0][1]
            log.warning("requests cannot be logged: %s", why.text(), extra=coded(why))
        self.counts.unlogged += len(failed)
        for entry, error in failed:
            is_large = isinstance(error, RecordTooLarge)
            self.counts.too_large += is_large
            self.counts.unwritten += not is_large
            if self.in_flight.answered(entry.request.id) is not None:
                code: ResultCode = "record_too_large" if is_large else "not_logged"
                self.answer_default(entry, code, f"not logged: {error.text()}")
        self.own_answers.flush()

    def _overflow(self, entry: OpenRequest) -> None:
        """Refuse, or answer the marked default, as configured, because too many are in flight."""
        if not self.settings.default_when_full:
            self._refuse(entry.client, self._full(entry))
            return
        self.answer_default(entry, "overloaded", "overloaded: too many requests in flight")

    def _full(self, entry: OpenRequest) -> Failure:
        """Return the refusal: the number of requests, or their bytes, are used up."""
        if self.in_flight.admits(entry.holder):
            limit = self.settings.in_flight_bytes_max
            what, fields = f"{limit:,} bytes", {"in_flight_bytes_max": limit}
            left = f"too few are left for this client's {entry.size:,}"
        else:
            limit = self.settings.in_flight_max
            what, fields = f"{limit:,} requests", {"in_flight_max": limit}
            left = "none is left for this client"
        message = f"of the {what} that may be in flight {left}"
        return Failure(429, "too_many_requests", message, fields, ((b"Retry-After", b"1"),))

    def _no_room(self, count: int) -> Failure:
        """Return the refusal of rows that do not all have a place."""
        limit = self.settings.in_flight_max
        message = f"of the {limit:,} requests that may be in flight too few are left for {count}"
        fields = {"in_flight_max": limit, "rows": count}
        return Failure(429, "too_many_requests", message, fields, ((b"Retry-After", b"1"),))

    def _refuse(self, http: HttpRequest, failure: Failure) -> None:
        self.counts.refused += 1
        http.fail(failure)

    def close(self) -> None:
        """Answer what is left with the default, and close."""
        super().close()
        if self._enricher is not None:
            self._enricher.close()
        self._requests.close()
