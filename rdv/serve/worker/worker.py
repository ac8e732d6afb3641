"""Runs the loop around a model: read all that waits, refuse, evaluate, report.

A watchdog detects a model that hangs, so that its worker reports the batch and exits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rdv.clock import Clock
from rdv.decision.streams import Streams
from rdv.models import Model, evaluate
from rdv.rendezvous.backlog import Backlog, Cost, Waiting
from rdv.serve.feeds import Feeds
from rdv.serve.outbox import CLOSE_S, Outbox
from rdv.serve.process import Waker
from rdv.serve.worker.crash_record import CrashRecord, Unfinished
from rdv.serve.worker.reports import Reports
from rdv.serve.worker.requests import START_S, RequestReader
from rdv.stream import TopicPartition

KEEP_MS = 60_000
"""How long scores are kept whose partition another process has locked, in ms: late for any schedule
of an ordinary SLA, they still belong to the log. The outbox is bounded in lines and bytes.
"""

LAST_REPORT_WAIT_S = 0.5
"""How long a worker that ends because its model hangs waits for the last report to be written."""

HUNG = "the model hung and was ended"

DIED = "the worker ended in this batch: the model crashed, exited, or was killed"


class Watchdog:
    """Watches one evaluation at a time from its own thread.

    `hanging` is called with a batch that has taken longer than `timeout_ms`. The thread checks a
    few times per timeout, which is soon enough. Begin and end belong to the worker's thread; either
    `end` or the watchdog gets the batch, never both.
    """

    def __init__(
        self, timeout_ms: float, clock: Clock, hanging: Callable[[list[Waiting]], None]
    ) -> None:
        self._timeout_ns = int(timeout_ms * 1e6)
        self._clock = clock
        self._hanging = hanging
        self._mutex = threading.Lock()
        self._began_ns = 0
        self._batch: list[Waiting] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rdv-watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def begin(self, batch: list[Waiting]) -> None:
        self._began_ns = self._clock.monotonic_ns()
        self._batch = batch

    def end(self) -> bool:
        """End the evaluation; return False when the watchdog has taken the batch."""
        with self._mutex:
            batch, self._batch = self._batch, None
        return batch is not None

    def look(self, now_ns: int) -> bool:
        """Return whether the present evaluation hangs; then its batch belongs to the watchdog."""
        with self._mutex:
            batch, began_ns = self._batch, self._began_ns
            if batch is None or now_ns - began_ns <= self._timeout_ns:
                return False
            self._batch = None
        self._hanging(batch)
        return True

    def _run(self) -> None:
        while not self._stop.wait(self._timeout_ns / 4e9):
            self.look(self._clock.monotonic_ns())

    def stop(self) -> None:
        self._stop.set()


class Worker:
    """Evaluates one model. One thread; `waker` stops it from others."""

    def __init__(
        self,
        streams: Streams,
        name: str,
        model: Model,
        backlog: Backlog,
        *,
        host: str,
        clock: Clock,
        waker: Waker,
        watchdog: Watchdog,
        crash_record: CrashRecord,
        start_s: int = START_S,
        came_back: Callable[[], None] = lambda: None,
    ) -> None:
        """`came_back` is called when an evaluation ends after the watchdog has given it up."""
        self._came_back = came_back
        self._name = name
        self._model = model
        self._backlog = backlog
        self._clock = clock
        self._watchdog = watchdog
        self._crash_record = crash_record
        outbox = Outbox(
            streams.scores.producer(),
            clock,
            "scores",
            keep_ms=KEEP_MS,
            is_slow=streams.scores.config.fsync == "always",
        )
        self.reports = Reports(outbox, name, model, clock, host)
        skips = backlog.when_behind == "skip"
        self.requests = RequestReader(
            streams.input,
            name,
            skips=skips,
            host=host,
            clock=clock,
            start_s=start_s,
            on_assign=self.report_ended_workers,
            on_revoke=self._release,
            reports=self.reports.so_far,
        )
        self._feeds = Feeds([self.requests.feed], waker, clock)
        self._poison: dict[str, None] = {}
        self._take_over(crash_record.unfinished())

    def turn(self, *, read: bool = True) -> None:
        """Read, refuse, evaluate one batch."""
        backlog = self._backlog
        if read and backlog.has_room:
            found = self.requests.read()
            if self._poison:
                found = [one for one in found if one.request.id not in self._poison]
            backlog.add(found, self._clock.monotonic_ns())
        if len(backlog):
            plan = backlog.plan(self._clock.monotonic_ns())
            if plan.refused:
                self.reports.refuse(plan.refused)
            if plan.batch:
                self._evaluate(plan.batch)
        self.requests.commit(backlog, self._clock.monotonic_ns())

    def report_ended_workers(self) -> None:
        """Report the batches of workers that this one was to replace, and that died meanwhile."""
        if not self._crash_record.is_alone:
            left = self._crash_record.newly_ended()
            if left.batch or left.poison:
                self._take_over(left)

    def _take_over(self, left: Unfinished) -> None:
        for id_ in (*left.poison, *(id_ for _, id_ in left.batch)):
            self._poison[id_] = None
        if not left.is_reported:
            self.reports.report_error(left.batch, DIED, "worker_ended")
        self._crash_record.exclude(list(self._poison))

    def _release(self, places: list[TopicPartition]) -> None:
        """Finish what has been read of these partitions, because another worker is to have them.

        A model that must see everything takes its requests in order, so that the other worker can
        go on behind what has been evaluated; any other model evaluates or refuses what it has,
        which does not take longer than the requests may.
        """
        backlog, leaving = self._backlog, frozenset(places)
        if backlog.when_behind == "all":
            self.requests.rewind(backlog, leaving)
            backlog.drop(leaving)
        else:
            wait_ms, backlog.batch_wait_ms = backlog.batch_wait_ms, 0.0
            while backlog.has_any(leaving):
                self.turn(read=False)
            backlog.batch_wait_ms = wait_ms
        self.requests.commit(backlog, self._clock.monotonic_ns(), at_once=True)

    def wait(self) -> None:
        """Block until requests may have come; not at all while requests wait to be evaluated."""
        if not self.requests.feed.is_ready:
            self._crash_record.clear_if_done()
        timeout_s = 1.0
        if len(self._backlog):
            held_ns = self._backlog.held_until_ns() - self._clock.monotonic_ns()
            timeout_s = max(0, held_ns) / 1e9
        self._feeds.wait(timeout_s)

    def finish(self) -> None:
        """Report on what has been read, and close."""
        self._backlog.batch_wait_ms = 0.0
        while len(self._backlog):
            self.turn(read=False)
        self.rest()
        self.reports.flush(CLOSE_S)
        self.requests.commit((), 2**62)
        self.requests.close()
        self.reports.close()
        self._model.close()
        self._crash_record.close()

    def rest(self) -> None:
        """Clear the note of a reported batch, so that a later end is not blamed on it."""
        self._crash_record.clear_if_done()

    def _evaluate(self, batch: list[Waiting]) -> None:
        self._crash_record.take(batch)
        began_ns = self._clock.monotonic_ns()
        self._watchdog.begin(batch)
        outcomes = self._predict(batch)
        if not self._watchdog.end():
            self._came_back()
            return  # the watchdog has reported this batch already
        took_ms = (self._clock.monotonic_ns() - began_ns) / 1e6
        self.reports.evaluated(batch, outcomes, began_ns, took_ms)
        self._crash_record.done()
        self._backlog.cost.learn(len(batch), took_ms)  # afterwards: delays no report

    def _predict(self, batch: list[Waiting]) -> list[Any]:
        if self._model.takes == "lines":
            return evaluate(self._model, [one.block.value(one.number) for one in batch])
        return evaluate(self._model, [waiting.request.data for waiting in batch])

    def report_hang(self, batch: list[Waiting]) -> None:
        """Report errors for a batch that will not end; the watchdog's thread calls it last."""
        hung = [(waiting.block.partition, waiting.request.id) for waiting in batch]
        self.reports.report_error(hung, HUNG, "timeout")
        self.reports.flush(LAST_REPORT_WAIT_S)
        self._crash_record.reported()

    @property
    def waiting_count(self) -> int:
        """Return the number of requests that have been read and not reported."""
        return len(self._backlog)

    @property
    def cost(self) -> Cost:
        """Return the learned cost of a batch."""
        return self._backlog.cost
