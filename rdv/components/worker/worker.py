"""The loop around a model: read all that waits, refuse, evaluate, report."""

from __future__ import annotations

from typing import Any

import orjson

from rdv.clock import Clock
from rdv.components.feeds import Feeds
from rdv.components.places import Streams
from rdv.components.stopping import Waker
from rdv.components.worker.backlog import Backlog, Waiting
from rdv.components.worker.cost import Cost
from rdv.components.worker.in_hand import InHand
from rdv.components.worker.intake import START_S, Intake
from rdv.components.worker.reports import Reports
from rdv.components.worker.watchdog import Watchdog
from rdv.models import Model, ModelError

HUNG = "the model hung and was ended"
DIED = "the worker ended in this batch: the model crashed, exited, or was killed"


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
        in_hand: InHand,
        start_s: int = START_S,
    ) -> None:
        self._model = model
        self._backlog = backlog
        self._clock = clock
        self._watchdog = watchdog
        self._in_hand = in_hand
        self.reports = Reports(streams.scores.producer(), name, model, clock)
        skips = backlog.when_behind == "skip"
        self.intake = Intake(
            streams.input, name, skips=skips, host=host, clock=clock, start_s=start_s
        )
        self._feeds = Feeds([self.intake.feed], waker, clock)
        left = in_hand.left()
        spoiled = (*left.spoiled, *(id_ for _, id_ in left.batch))
        self._spoiled = frozenset(spoiled)
        if not left.is_reported:
            self.reports.spoil(left.batch, DIED, "worker_ended")
        in_hand.spoil(spoiled)

    def turn(self, *, read: bool = True) -> None:
        """Read, refuse, evaluate one batch."""
        backlog = self._backlog
        if read and backlog.has_room:
            found = self.intake.read()
            if self._spoiled:
                found = [one for one in found if one.request.id not in self._spoiled]
            backlog.add(found, self._clock.monotonic_ns())
        if len(backlog):
            plan = backlog.plan(self._clock.monotonic_ns())
            if plan.refused:
                self.reports.refuse(plan.refused)
            if plan.batch:
                self._evaluate(plan.batch)
        self.intake.commit(backlog, self._clock.monotonic_ns())

    def wait(self) -> None:
        """Block until something may have come; not at all while something waits to be evaluated."""
        if not self.intake.feed.is_ready:
            self._in_hand.rest()
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
        self.intake.commit((), 2**62)
        self.intake.close()
        self.reports.close()
        self._model.close()
        self._in_hand.close()

    def rest(self) -> None:
        """Whatever ends us from here on: what has been reported is not in our hands."""
        self._in_hand.rest()

    def _evaluate(self, batch: list[Waiting]) -> None:
        self._in_hand.take(batch)
        began_ns, began_wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        self._watchdog.begin(batch)
        outcomes = self._predict(batch)
        if not self._watchdog.end():
            return  # it has spoken for this batch already
        took_ms = (self._clock.monotonic_ns() - began_ns) / 1e6
        self.reports.evaluated(batch, outcomes, began_wall_ns, took_ms)
        self._in_hand.done()
        self._backlog.cost.learn(len(batch), took_ms)  # now that nobody waits for us

    def _predict(self, batch: list[Waiting]) -> list[Any]:
        takes = self._model.takes
        if takes == "lines":
            return self._model.predict([one.block.value(one.number) for one in batch])
        raw = [waiting.request.data for waiting in batch]
        if takes == "data":
            return self._model.predict([bytes(data) for data in raw])
        try:
            rows = orjson.loads(b"[%b]" % b",".join(raw))
        except orjson.JSONDecodeError:
            return self._predict_sound([bytes(data) for data in raw])
        return self._model.predict(rows)

    def _predict_sound(self, data: list[bytes]) -> list[Any]:
        """Some of it cannot be read, though it came through the door: the others shall not care."""
        outcomes: list[Any] = []
        for text in data:
            try:
                row = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                outcomes.append(ModelError(f"the data is not JSON: {error}", "data"))
            else:
                outcomes += self._model.predict([row])
        return outcomes

    def report_hang(self, batch: list[Waiting]) -> None:
        """Errors for a batch that will not end; called from the watchdog's thread, as the last."""
        hung = [(waiting.block.partition, waiting.request.id) for waiting in batch]
        self.reports.spoil(hung, HUNG, "timeout")
        self._in_hand.reported()

    @property
    def waiting_count(self) -> int:
        """Requests that have been read and not reported."""
        return len(self._backlog)

    @property
    def cost(self) -> Cost:
        """What a batch costs, as learned."""
        return self._backlog.cost
