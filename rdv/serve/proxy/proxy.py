"""The proxy connects HTTP with the streams, and answers the default itself as a backstop.

Requests of one turn of the loop go to the log as one batch. Everything here belongs to the loop's
thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any
from zlib import crc32

import msgspec

from rdv.clock import Clock
from rdv.coded import coded
from rdv.codes import ResultCode
from rdv.decision.streams import Streams
from rdv.errors import RdvError
from rdv.http import Failure
from rdv.http import Request as HttpRequest
from rdv.rendezvous.deadlines import GRACE_NS
from rdv.rendezvous.messages import Request, Result
from rdv.rendezvous.model_selection import ModelSelection
from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.schedule.cohort import Cohorts
from rdv.serve.batches import REQUESTS, RESULTS
from rdv.serve.feeds import BACKSTOP_S, Feed
from rdv.serve.outbox import FOREVER_MS, LOCK_WAIT_MS, Outbox
from rdv.serve.proxy.answers import Counts, OwnAnswers, answer_body, backstop_result
from rdv.serve.proxy.enricher import Enricher
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
)
from rdv.stream.errors import RecordTooLarge

log = logging.getLogger("rdv.proxy")

POLL_RECORDS_MAX = 1_000
MISS_NS = 10_000_000
"""An answer that is later than its deadline by more than this is counted as a miss."""


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


class Proxy:
    """Answers `POST /v1/decide`. See the module."""

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
        enricher: Enricher | None = None,
    ) -> None:
        self.settings = settings
        self.choice = choice
        self.cohorts = cohorts
        self.model_selection = model_selection
        self.counts = Counts()
        self.in_flight = InFlight(
            settings.in_flight_max, settings.client_share, settings.in_flight_bytes_max
        )
        self.is_draining = False
        self._ids = ids
        self._host = host
        self._clock = clock
        self.now_ns = clock.monotonic_ns
        self._enricher = enricher
        self._loop = asyncio.get_running_loop()
        # Made now, so that models and servers know it before the first request is in it.
        streams.input.make_topic(settings.name)
        self._requests = Outbox(
            streams.input.producer(),
            clock,
            "requests",
            keep_ms=LOCK_WAIT_MS,
            is_slow=streams.input.config.fsync == "always",
        )
        self.own_answers = OwnAnswers(
            Outbox(
                streams.results.producer(),
                clock,
                "answers",
                keep_ms=FOREVER_MS,
                keep="any",
                is_slow=streams.results.config.fsync == "always",
            ),
            settings.name,
        )
        self._results = Feed(streams.results.consumer([settings.name], start="latest"))
        self.losses = self._results.losses
        self._batch: list[OpenRequest] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._loop.add_reader(self._results.fd, self._notified)
        self._look()

    def change_settings(self, settings: Settings) -> None:
        """Apply to requests that come from now on; the name and the partitions stay."""
        self.settings = settings
        self.in_flight.limit(
            settings.in_flight_max, settings.client_share, settings.in_flight_bytes_max
        )

    def change_enricher(self, enricher: Enricher | None) -> None:
        """Use it from now on; requests that wait for the old enricher still get it."""
        old, self._enricher = self._enricher, enricher
        if old is not None:
            old.retire()

    def decide(self, http: HttpRequest) -> None:
        """Handle `POST /v1/decide`."""
        self.counts.requests += 1
        if http.json_fault is not None:
            self._refuse(http, http.json_fault)
            return
        if self.is_draining:
            self._refuse(http, _DRAINING)
            return
        body = read_body(http.body)
        if isinstance(body, Failure):
            self._refuse(http, body)
            return
        wanted = self._options(body)
        if isinstance(wanted, Failure):
            self._refuse(http, wanted)
            return
        request = self._request(http, body, wanted)
        schedule = wanted.chosen.schedule
        if self._enricher is None or not self.in_flight.admits(
            http.client, counted_bytes(http.body)
        ):
            self._accept(http, request, schedule)
        else:
            self._enricher.enrich(request, http.client, partial(self._enriched, http, schedule))

    def _options(self, body: Body) -> RequestOptions | Failure:
        """Return the schedule and the models of a request."""
        if body.schedule is ABSENT and body.models is ABSENT and not self.cohorts.shares:
            return self.choice.usual
        cohort: str | None = None
        asked: Any = None
        chosen = None if body.schedule is ABSENT else self.choice.read(body.schedule)
        if isinstance(chosen, ChosenSchedule):
            asked = chosen.asked
        elif chosen is None:
            cohort, asked = self.cohorts.of(body.key)
            chosen = self.choice.choose(asked)
        if isinstance(chosen, Failure):
            return chosen
        models = None if body.models is ABSENT else read_models(body.models)
        if isinstance(models, Failure):
            return models
        if models is not None and (failure := self.model_selection.check(models)) is not None:
            return failure
        return RequestOptions(chosen, asked, cohort, models)

    def _request(self, http: HttpRequest, body: Body, wanted: RequestOptions) -> Request:
        chosen, asked, cohort, models = wanted
        deadline_ms = chosen.schedule.sla_ms
        if body.deadline_ms is not None and body.deadline_ms < deadline_ms:
            deadline_ms = body.deadline_ms
        id_ = next(self._ids)
        not_asked: list[str] = []
        if models is not None or not self.model_selection.asks_all:
            not_asked = self.model_selection.not_asked(id_, cohort, models)
        x_request_id, idempotency = "", None
        asker: Any = http
        if type(asker) is KeyedRequest:
            x_request_id, idempotency = asker.x_request_id, asker.idempotency
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
        )

    def reopen(self, client: KeyedRequest, request: Request, partition: int, since_ns: int) -> None:
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
            if self.in_flight.answered(entry.request.id) is not None:
                is_large = isinstance(error, RecordTooLarge)
                code: ResultCode = "record_too_large" if is_large else "not_logged"
                self.answer_default(entry, code, f"not logged: {error.text()}")
        self.own_answers.flush()

    def _notified(self) -> None:
        self._results.notified()
        self._read_results()

    def _read_results(self) -> None:
        feed, in_flight = self._results, self.in_flight
        feed.is_ready = True
        while feed.is_ready:
            for result in chain.from_iterable(map(RESULTS.read, feed.poll(POLL_RECORDS_MAX))):
                if result is None:
                    self.counts.malformed += 1
                elif (entry := in_flight.answered(result.id)) is not None:
                    self.answer(entry, result)

    def answer(self, entry: OpenRequest, result: Result) -> None:
        request = entry.request
        waited_ns = self.now_ns() - request.monotonic_ns
        counts = self.counts
        if result.kind == "preferred":
            counts.preferred += 1
        elif result.kind == "fallback":
            counts.fallback += 1
        else:
            counts.default += 1
        late_ns = waited_ns - (request.deadline_ms or 0) * 1e6
        if late_ns > 0:
            counts.late += 1
            counts.misses += late_ns > MISS_NS
        if result.model is not None:
            counts.count_model(result.model)
        entry.client.respond(200, answer_body(result, waited_ns / 1e6, trace=request.trace))

    def answer_default(self, entry: OpenRequest, code: ResultCode, reason: str) -> None:
        """Answer the default; it is recorded with the next flush of `own_answers`."""
        waited_ns = self.now_ns() - entry.request.monotonic_ns
        result = backstop_result(entry.request, entry.schedule, waited_ns / 1e6, code, reason)
        self.own_answers.add(entry.partition, result)
        self.answer(entry, result)

    def _set_timer(self) -> None:
        due_ns = self.in_flight.next_due_ns()
        if due_ns is None or (self._timer is not None and self._timer_ns <= due_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0.0, (due_ns - self.now_ns()) / 1e9)
        self._timer, self._timer_ns = self._loop.call_later(delay_s, self._backstop), due_ns

    def _backstop(self) -> None:
        """Answer and record the marked default where no result has come by the SLA."""
        self._timer = None
        self._read_results()
        for entry in self.in_flight.overdue(self.now_ns()):
            self.counts.backstop += 1
            self.answer_default(entry, "no_result_in_time", "no result came by the SLA")
        self.own_answers.flush()
        self._set_timer()

    def _look(self) -> None:
        """Poll regularly: a wake-up may be lost, and a full disk may have room again."""
        # The descriptor changes when the file of its doorbell was deleted and made again.
        self._loop.remove_reader(self._results.fd)
        self._loop.add_reader(self._results.fd, self._notified)
        self._read_results()
        self.own_answers.flush()
        self._looking = self._loop.call_later(BACKSTOP_S, self._look)

    # Called by the HTTP server when clients leave.

    def gone(self, http: HttpRequest) -> None:
        """Drop a request whose client has gone, and free its place.

        The models and the server still process and record it, but it holds nothing here. A request
        with an Idempotency-Key is answered all the same, for its repeats.
        """
        entry = self.in_flight.find(http.token)
        if entry is None:
            return
        if entry.client.connected:
            self._set_aside(http.token)
        else:
            self.in_flight.answered(http.token)
            self.counts.gone += 1

    def ending(self, http: HttpRequest) -> None:
        """Free the place of a request whose client may be gone; the request waits on."""
        self._set_aside(http.token)

    def _set_aside(self, id_: str) -> None:
        for left in self.in_flight.set_aside(id_):
            self.answer_default(left, "overloaded", "overloaded: too many clients may have left")

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

    def _refuse(self, http: HttpRequest, failure: Failure) -> None:
        self.counts.refused += 1
        http.fail(failure)

    def close(self) -> None:
        """Answer what is left with the default, and close."""
        self._loop.remove_reader(self._results.fd)
        self._looking.cancel()
        if self._timer is not None:
            self._timer.cancel()
        for entry in self.in_flight.drop_all():
            self.answer_default(entry, "stopping", "the proxy is stopping")
        if self._enricher is not None:
            self._enricher.close()
        self._results.close()
        self._requests.close()
        self.own_answers.close()
