"""Answers the requests that a proxy has in flight: by results, or by the default as a backstop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import chain
from typing import Protocol

from rdv.clock import Clock
from rdv.codes import ResultCode
from rdv.decision.streams import Streams
from rdv.http import Request as HttpRequest
from rdv.rendezvous.messages import Result
from rdv.serve.batches import RESULTS
from rdv.serve.feeds import BACKSTOP_S, Feed
from rdv.serve.outbox import FOREVER_MS, Outbox
from rdv.serve.proxy.answers import Counts, OwnAnswers, answer_body, backstop_result
from rdv.serve.proxy.in_flight import InFlight, OpenRequest
from rdv.serve.proxy.rows import ManyRows

POLL_RECORDS_MAX = 1_000
MISS_NS = 10_000_000
"""An answer that is later than its deadline by more than this is counted as a miss."""


def _ignore(waited_ns: int) -> None:
    del waited_ns


class Departed(Protocol):
    """A request whose client has left; `token` is its id, or that of its rows."""

    token: str


class Answering:
    """The half of a proxy that answers. For the loop's thread."""

    def __init__(self, name: str, in_flight: InFlight, streams: Streams, clock: Clock) -> None:
        self.counts = Counts()
        self.in_flight = in_flight
        self.many: dict[str, ManyRows] = {}
        """The HTTP requests with several rows that are not answered yet, by their tokens."""
        self.now_ns = clock.monotonic_ns
        self.count_wait: Callable[[int], None] = _ignore
        """Called with how long each client has waited, in ns (`shared_counts`)."""
        self._loop = asyncio.get_running_loop()
        self.own_answers = OwnAnswers(
            Outbox(
                streams.results.producer(),
                clock,
                "answers",
                keep_ms=FOREVER_MS,
                keep="any",
                is_slow=streams.results.config.fsync == "always",
            ),
            name,
        )
        self._results = Feed(streams.results.consumer([name], start="latest"))
        self.losses = self._results.losses
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._loop.add_reader(self._results.fd, self._notified)
        self._look()

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
        self.count_wait(waited_ns)
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
        # The descriptor changes when its FIFO was deleted and made again.
        self._loop.remove_reader(self._results.fd)
        self._loop.add_reader(self._results.fd, self._notified)
        self._read_results()
        self.own_answers.flush()
        self._looking = self._loop.call_later(BACKSTOP_S, self._look)

    # Called by the HTTP server when clients leave.

    def gone(self, http: Departed) -> None:
        """Drop a request whose client has gone, and free its place.

        The models and the server still process and record it, but it holds nothing here. A request
        with an Idempotency-Key is answered all the same, for its repeats.
        """
        for id_ in self._ids_of(http.token):
            entry = self.in_flight.find(id_)
            if entry is None:
                continue
            if entry.client.connected:
                self._set_aside(id_)
            else:
                self.in_flight.answered(id_)
                self.counts.gone += 1
        self.many.pop(http.token, None)

    def ending(self, http: HttpRequest) -> None:
        """Free the place of a request whose client may be gone; the request waits on."""
        for id_ in self._ids_of(http.token):
            self._set_aside(id_)

    def _ids_of(self, token: str) -> list[str]:
        """Return the ids of an HTTP request's open rows; usually there is one."""
        many = self.many.get(token)
        return [token] if many is None else list(many.open)

    def _set_aside(self, id_: str) -> None:
        for left in self.in_flight.set_aside(id_):
            self.answer_default(left, "overloaded", "overloaded: too many clients may have left")

    def close(self) -> None:
        """Answer what is left with the default, and close."""
        self._loop.remove_reader(self._results.fd)
        self._looking.cancel()
        if self._timer is not None:
            self._timer.cancel()
        for entry in self.in_flight.drop_all():
            self.answer_default(entry, "stopping", "the proxy is stopping")
        self._results.close()
        self.own_answers.close()
