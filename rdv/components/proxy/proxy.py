"""The proxy's shell: HTTP on one side, the streams on the other, a backstop in between.

Requests of one turn of the loop go to the log as one batch. Everything here belongs to the loop's
thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from zlib import crc32

from rdv.clock import Clock
from rdv.components.places import Streams, backstop_topic
from rdv.components.proxy.answer import answer_body, backstop_result
from rdv.components.proxy.cohorts import Cohorts
from rdv.components.proxy.desk import Desk, Open
from rdv.components.proxy.enrich import Enricher
from rdv.components.proxy.intake import Body, ScheduleChoice, read_body
from rdv.components.reading import poll_on
from rdv.errors import RdvError
from rdv.http import Failure
from rdv.http import Request as HttpRequest
from rdv.messages import (
    MalformedMessage,
    Request,
    Result,
    decode_result,
    encode_request,
    encode_result,
)
from rdv.schedule import Schedule

log = logging.getLogger("rdv.proxy")

POLL_RECORDS_MAX = 1_000
BACKSTOP_GRACE_NS = 3_000_000
"""The server decides at the SLA; its result may take this long to come before the proxy answers."""

LOOK_EVERY_S = 0.2
"""A ring may be lost when its sender is killed in that very instant: look all the same."""


@dataclass
class Counts:
    """What the proxy has seen; only grows."""

    requests: int = 0
    refused: int = 0
    preferred: int = 0
    fallback: int = 0
    default: int = 0
    backstop: int = 0
    """Answered by the proxy itself, since no result had come in time."""
    misses: int = 0
    """Answered later than the SLA plus 10 ms, by the proxy's own clock."""
    unlogged: int = 0
    """Answered with the default because the log could not be written."""
    by_model: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """What a proxy needs to know of the decision's rdv.toml."""

    name: str
    partitions: int
    in_flight_max: int
    default_when_full: bool


class Proxy:
    """Answers `POST /v1/decide`. See the module."""

    def __init__(
        self,
        settings: Settings,
        streams: Streams,
        choice: ScheduleChoice,
        cohorts: Cohorts,
        ids: Iterator[str],
        *,
        host: str,
        clock: Clock,
        enricher: Enricher | None = None,
    ) -> None:
        self.settings = settings
        self.choice = choice
        self.cohorts = cohorts
        self.counts = Counts()
        self.desk = Desk(settings.in_flight_max)
        self.is_draining = False
        self._streams = streams
        self._ids = ids
        self._host = host
        self._clock = clock
        self._enricher = enricher
        self._loop = asyncio.get_running_loop()
        self._producer = streams.input.producer()
        self._backstops = streams.results.producer()
        self._results = streams.results.consumer([settings.name], start="latest")
        self._batch: list[Open] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._loop.add_reader(self._results.fileno(), self._read_results)
        self._look()

    def decide(self, http: HttpRequest) -> None:
        """The handler of `POST /v1/decide`."""
        self.counts.requests += 1
        content_type = http.header(b"content-type")
        if content_type and b"json" not in content_type and b"x-www-form" not in content_type:
            self._refuse(http, _unsupported(content_type))
            return
        if self.is_draining:
            self._refuse(http, _DRAINING)
            return
        body = read_body(http.body)
        if isinstance(body, Failure):
            self._refuse(http, body)
            return
        cohort, wanted = None, body.schedule
        if wanted is None:
            cohort, wanted = self.cohorts.of(body.key)
        schedule = self.choice.choose(wanted)
        if isinstance(schedule, Failure):
            self._refuse(http, schedule)
            return
        request = self._request(http, body, schedule, wanted, cohort)
        if self.desk.is_full:
            self._overflow(http, request, schedule)
        elif self._enricher is None:
            self._accept(http, request, schedule)
        else:
            self._enricher.enrich(request, lambda done: self._accept(http, done, schedule))

    def _request(
        self,
        http: HttpRequest,
        body: Body,
        schedule: Schedule,
        wanted: str | dict[str, object] | None,
        cohort: str | None,
    ) -> Request:
        deadline_ms = schedule.sla_ms
        if body.deadline_ms is not None and body.deadline_ms < deadline_ms:
            deadline_ms = body.deadline_ms
        return Request(
            next(self._ids),
            self._clock.wall_ns(),
            self._host,
            http.received_ns,
            self.settings.name,
            body.data,
            body.key,
            wanted,
            cohort,
            deadline_ms,
            body.trace,
        )

    def _accept(self, http: HttpRequest, request: Request, schedule: Schedule) -> None:
        deadline_ms = request.deadline_ms or schedule.sla_ms
        backstop_ns = request.monotonic_ns + int(deadline_ms * 1e6) + BACKSTOP_GRACE_NS
        partition = 0
        if self.settings.partitions > 1:
            partition = crc32((request.key or request.id).encode()) % self.settings.partitions
        entry = Open(http, request, schedule, partition, backstop_ns)
        self.desk.take(entry)
        if not self._batch:
            self._loop.call_soon(self._flush)
        self._batch.append(entry)

    def _flush(self) -> None:
        """One batch for each partition: what came in during this turn of the loop."""
        batch, self._batch = self._batch, []
        by_partition: dict[int, list[Open]] = {}
        for entry in batch:
            by_partition.setdefault(entry.partition, []).append(entry)
        for partition, entries in by_partition.items():
            lines = [encode_request(entry.request) for entry in entries]
            try:
                self._producer.send_many(self.settings.name, lines, partition=partition)
            except RdvError as error:
                log.error("%d requests could not be logged: %s", len(lines), error.text())
                self.counts.unlogged += len(lines)
                for entry in entries:
                    if self.desk.answered(entry.request.id) is not None:
                        self._answer_default(entry, f"not logged: {error.text()}")
        self._set_timer()

    def _read_results(self) -> None:
        while records := poll_on(self._results, POLL_RECORDS_MAX):
            for record in records:
                try:
                    result = decode_result(record.value)
                except MalformedMessage as error:
                    log.warning("%s", error.text())
                    continue
                entry = self.desk.answered(result.id)
                if entry is not None:
                    self._answer(entry, result)

    def _answer(self, entry: Open, result: Result) -> None:
        waited_ns = self._clock.monotonic_ns() - entry.request.monotonic_ns
        counts = self.counts
        if result.kind == "preferred":
            counts.preferred += 1
        elif result.kind == "fallback":
            counts.fallback += 1
        else:
            counts.default += 1
        counts.misses += waited_ns > (entry.request.deadline_ms or 0) * 1e6 + 10_000_000
        if result.model is not None:
            counts.by_model[result.model] = counts.by_model.get(result.model, 0) + 1
        entry.client.respond(200, answer_body(result, waited_ns / 1e6, trace=entry.request.trace))

    def _answer_default(self, entry: Open, reason: str) -> Result:
        waited_ns = self._clock.monotonic_ns() - entry.request.monotonic_ns
        result = backstop_result(entry.request, entry.schedule, waited_ns / 1e6, reason)
        self._answer(entry, result)
        return result

    def _set_timer(self) -> None:
        due_ns = self.desk.next_due_ns()
        if due_ns is None or (self._timer is not None and self._timer_ns <= due_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0.0, (due_ns - self._clock.monotonic_ns()) / 1e9)
        self._timer, self._timer_ns = self._loop.call_later(delay_s, self._backstop), due_ns

    def _backstop(self) -> None:
        """No result has come by the SLA: answer the marked default, and put that on record."""
        self._timer = None
        self._read_results()
        results: dict[int, list[bytes]] = {}
        for entry in self.desk.overdue(self._clock.monotonic_ns()):
            self.counts.backstop += 1
            result = self._answer_default(entry, "no result came by the SLA")
            results.setdefault(entry.partition, []).append(encode_result(result))
        for partition, lines in results.items():
            try:
                topic = backstop_topic(self.settings.name)
                self._backstops.send_many(topic, lines, partition=partition)
            except RdvError as error:
                log.error("%d backstop answers not on record: %s", len(lines), error.text())
        self._set_timer()

    def _look(self) -> None:
        self._read_results()
        self._looking = self._loop.call_later(LOOK_EVERY_S, self._look)

    def _overflow(self, http: HttpRequest, request: Request, schedule: Schedule) -> None:
        """Too many in flight: refuse, or answer the marked default, as configured."""
        if not self.settings.default_when_full:
            self._refuse(http, _full(self.settings.in_flight_max))
            return
        self._answer_default(
            Open(http, request, schedule, 0, 0), "overloaded: too many requests in flight"
        )

    def _refuse(self, http: HttpRequest, failure: Failure) -> None:
        self.counts.refused += 1
        http.fail(failure)

    def close(self) -> None:
        """Answer what is left with the default, and close."""
        self._loop.remove_reader(self._results.fileno())
        self._looking.cancel()
        if self._timer is not None:
            self._timer.cancel()
        for entry in self.desk.drop_all():
            self._answer_default(entry, "the proxy is stopping")
        self._results.close()
        self._producer.close()
        self._backstops.close()


_DRAINING = Failure(
    503,
    "draining",
    "this proxy is stopping: ask another one, or again in a moment",
    headers=((b"Retry-After", b"1"),),
)


def _full(limit: int) -> Failure:
    message = f"{limit} requests are in flight already, which is the limit"
    return Failure(
        429, "too_many_requests", message, {"in_flight_max": limit}, ((b"Retry-After", b"1"),)
    )


def _unsupported(content_type: bytes) -> Failure:
    shown = content_type[:100].decode("latin-1")
    return Failure(415, "unsupported_media_type", f"send application/json, not {shown}")
