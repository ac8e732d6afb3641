"""The worker's writing side: what it says about requests, in its model's own topic."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from rdv.clock import Clock
from rdv.components.batches import SCORES
from rdv.components.worker.backlog import Refused, Waiting
from rdv.errors import RdvError
from rdv.messages import Score
from rdv.models import Model
from rdv.stream import Producer

log = logging.getLogger("rdv.worker")


class Reports:
    """Sends scores, each to the partition number of its request. Thread-safe for the watchdog."""

    def __init__(self, producer: Producer, name: str, model: Model, clock: Clock) -> None:
        self._producer = producer
        self._name = name
        self._model = model
        self._clock = clock
        self.scored = self.refused = self.failed = self.lost = 0

    def evaluated(
        self,
        batch: Sequence[Waiting],
        outcomes: Sequence[object],
        began_wall_ns: int,
        took_ms: float,
    ) -> None:
        """`outcomes`: for each row JSON, an error's text or value, or None for no report."""
        name, version, size = self._name, self._model.version, len(batch)
        done_ns, took_ms = self._clock.wall_ns(), round(took_ms, 3)
        scores: dict[int, list[Score]] = {}
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if outcome is None:
                continue
            record = waiting.record
            queue_ms = round(max(0, began_wall_ns - record.timestamp_ns) / 1e6, 3)
            result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
            error = None
            if isinstance(outcome, bytes):
                result = msgspec.Raw(outcome)
            else:
                error = str(outcome)
                self.failed += 1
            id_ = waiting.request.id
            score = Score(id_, name, version, done_ns, queue_ms, took_ms, size, result, None, error)
            scores.setdefault(record.partition, []).append(score)
        self.scored += size
        self._send(scores)

    def refuse(self, refused: Sequence[Refused]) -> None:
        """Nobody shall wait for these."""
        now_ns, version = self._clock.wall_ns(), self._model.version
        scores: dict[int, list[Score]] = {}
        for waiting, refusal, late_ms in refused:
            score = Score(
                waiting.request.id,
                self._name,
                version,
                now_ns,
                refusal=refusal,
                detail=f"{late_ms:.1f} ms late",
            )
            scores.setdefault(waiting.record.partition, []).append(score)
        self.refused += len(refused)
        self._send(scores)

    def spoil(self, requests: Sequence[tuple[int, str]], reason: str) -> None:
        """The same error for all of these, given as (partition, id)."""
        now_ns, version = self._clock.wall_ns(), self._model.version
        scores: dict[int, list[Score]] = {}
        for partition, id_ in requests:
            score = Score(id_, self._name, version, now_ns, error=reason)
            scores.setdefault(partition, []).append(score)
        self.failed += len(requests)
        self._send(scores)

    def _send(self, by_partition: dict[int, list[Score]]) -> None:
        for partition, scores in by_partition.items():
            try:
                self._producer.send_many(self._name, SCORES.write(scores), partition=partition)
            except RdvError as error:
                # Nobody hears of these scores; the schedule goes on without them.
                self.lost += len(scores)
                log.warning("%d scores lost: %s", len(scores), error.text())

    def close(self) -> None:
        self._producer.close()
