"""The loop around a model: read all that waits, refuse, evaluate, report."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import msgspec
import orjson

from rdv.clock import Clock
from rdv.components.deadlines import deadline_ns
from rdv.components.places import Streams
from rdv.components.reading import poll_on
from rdv.components.stopping import Waker, Waiting as WaitingForAny
from rdv.components.worker.backlog import Backlog, Refused, Waiting
from rdv.components.worker.watchdog import Watchdog
from rdv.errors import RdvError
from rdv.messages import MalformedMessage, Score, decode_request, encode_score
from rdv.models import Model
from rdv.stream import GroupTiming
from rdv.stream.errors import Fenced

log = logging.getLogger("rdv.worker")

POLL_RECORDS_MAX = 2_000
BACKSTOP_S = 0.2
COMMIT_EVERY_NS = 50_000_000
TIMING = GroupTiming(session_timeout_ms=10_000, heartbeat_ms=100)


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
    ) -> None:
        self._name = name
        self._model = model
        self._backlog = backlog
        self._host = host
        self._clock = clock
        self._waker = waker
        self._watchdog = watchdog
        self._input = streams.input.consumer(group=name, start="latest", timing=TIMING)
        self._scores = streams.scores.producer()
        self._waiting = WaitingForAny((self._input.fileno(), waker.fileno()))
        self._committed_ns = 0
        self.scored = self.refused = self.failed = self.malformed = self.lost_scores = 0

    def wait(self) -> None:
        """Block until something may have come."""
        self._waiting.wait(BACKSTOP_S)
        self._waker.drain()

    def finish(self) -> None:
        """Report on what has been read, and close."""
        while len(self._backlog):
            self.turn(read=False)
        self.close()

    def turn(self, *, read: bool = True) -> bool:
        """Read, refuse, evaluate one batch; False when there was nothing to do."""
        if read:
            self._read()
        now_ns = self._clock.monotonic_ns()
        plan = self._backlog.plan(now_ns)
        if plan.refused:
            self._report((r.waiting, self._refusal(r)) for r in plan.refused)
            self.refused += len(plan.refused)
        if plan.batch:
            self._evaluate(plan.batch)
        if not len(self._backlog):
            self._commit(now_ns)
        return bool(plan.batch or plan.refused)

    def _read(self) -> None:
        for record in poll_on(self._input, POLL_RECORDS_MAX):
            try:
                request = decode_request(record.value)
            except MalformedMessage as error:
                self.malformed += 1
                log.warning("%s", error.text())
                continue
            now_ns = self._clock.monotonic_ns()
            due_ns = deadline_ns(request, self._host, now_ns)
            self._backlog.add(
                Waiting(request, record.value, record.partition, record.timestamp_ns, due_ns)
            )

    def _evaluate(self, batch: list[Waiting]) -> None:
        start_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        rows = self._rows(batch)
        self._watchdog.begin(batch)
        outcomes = self._model.predict(rows)
        self._watchdog.end()
        took_ms = (self._clock.monotonic_ns() - start_ns) / 1e6
        self._backlog.cost.learn(len(batch), took_ms)
        done_ns = self._clock.wall_ns()
        version, size, scores = self._model.version, len(batch), []
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if outcome is None:
                continue
            queue_ms = max(0, wall_ns - waiting.arrived_ns) / 1e6
            result = msgspec.Raw(outcome) if isinstance(outcome, bytes) else msgspec.UNSET
            error = None if isinstance(outcome, bytes) else str(outcome)
            score = Score(
                waiting.request.id,
                self._name,
                version,
                done_ns,
                round(queue_ms, 3),
                round(took_ms, 3),
                size,
                result,
                None,
                error,
            )
            self.failed += error is not None
            scores.append((waiting, score))
        self.scored += size
        self._report(scores)

    def _rows(self, batch: list[Waiting]) -> list[Any]:
        takes = self._model.takes
        if takes == "values":
            return [orjson.loads(bytes(waiting.request.data)) for waiting in batch]
        if takes == "data":
            return [bytes(waiting.request.data) for waiting in batch]
        return [waiting.line for waiting in batch]

    def _refusal(self, refused: Refused) -> Score:
        return Score(
            refused.waiting.request.id,
            self._name,
            self._model.version,
            self._clock.wall_ns(),
            refusal=refused.refusal,
            detail=f"{refused.late_ms:.1f} ms late",
        )

    def _report(self, scores: Iterable[tuple[Waiting, Score]]) -> None:
        by_partition: dict[int, list[bytes]] = {}
        for waiting, score in scores:
            by_partition.setdefault(waiting.partition, []).append(encode_score(score))
        for partition, lines in by_partition.items():
            try:
                self._scores.send_many(self._name, lines, partition=partition)
            except RdvError as error:
                # Nobody hears of these scores; the schedule goes on without them.
                self.lost_scores += len(lines)
                log.error("%d scores lost: %s", len(lines), error.text())

    def report_hang(self, batch: list[Waiting]) -> None:
        """Errors for a batch that will not end; called from the watchdog's thread, as the last."""
        done_ns = self._clock.wall_ns()
        error = "the model hung and was ended"
        self._report(
            (w, Score(w.request.id, self._name, self._model.version, done_ns, error=error))
            for w in batch
        )

    @property
    def waiting_count(self) -> int:
        """Requests that have been read and not reported."""
        return len(self._backlog)

    @property
    def row_ms(self) -> float:
        """What one row costs, as learned."""
        return self._backlog.cost.row_ms

    def _commit(self, now_ns: int) -> None:
        if now_ns - self._committed_ns < COMMIT_EVERY_NS:
            return
        self._committed_ns = now_ns
        try:
            self._input.commit()
        except Fenced as error:
            log.warning("%s", error.text())
        except RdvError as error:
            log.error("cannot commit: %s", error.text())

    def close(self) -> None:
        self._commit(2**62)
        self._input.close()
        self._scores.close()
        self._model.close()
