"""Writes a worker's reports on requests to its model's own topic."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from rdv.clock import Clock
from rdv.coded import coded
from rdv.codes import ReportCode
from rdv.errors import RdvError
from rdv.models import Model, ModelError
from rdv.rendezvous.backlog import Refused, Waiting
from rdv.rendezvous.messages import (
    REFUSAL_CODES,
    Request,
    ResultLines,
    Score,
    decode_score,
    encode_score,
)
from rdv.serve.batches import SCORES
from rdv.serve.failures import Failures
from rdv.serve.outbox import Outbox
from rdv.stream.errors import RecordTooLarge

log = logging.getLogger("rdv.worker")


def _code_of(error: object) -> ReportCode:
    return error.code if isinstance(error, ModelError) else "predict_raised"


class _Results(NamedTuple):
    """Holds the parts of the lines of one partition's results."""

    ids: list[str]
    middles: list[bytes]
    texts: list[bytes]


class Reports:
    """Sends scores, each to the partition number of its request. Thread-safe for the watchdog."""

    def __init__(self, outbox: Outbox, name: str, model: Model, clock: Clock, host: str) -> None:
        self._outbox = outbox
        self._name = name
        self._model = model
        self._clock = clock
        self._host = host
        self.failures = Failures(name, clock, log, "model_failing")
        self.scored = self.refused = self.failed = self.lost = 0
        self.is_out_of_memory = False
        """Whether the model has failed by a lack of memory."""

    def evaluated(
        self,
        batch: Sequence[Waiting],
        outcomes: Sequence[object],
        began_ns: int,
        took_ms: float,
    ) -> None:
        """Report a batch; `outcomes` has for each row JSON, an error's text or value, or None.

        None is not reported. `began_ns` is when the evaluation began, on this host's monotonic
        clock.
        """
        version, size = self._model.version, len(batch)
        done_ns, took_ms = self._clock.wall_ns(), round(took_ms, 3)
        same = ResultLines(self._name, version, done_ns, took_ms, size)
        queue_ms, middle, appended_ns = 0.0, b"", -1
        error: object = None
        refused = 0
        found: dict[int, _Results] = {}
        failed: dict[int, list[bytes]] = {}
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if outcome is None:
                continue
            block = waiting.block
            timestamp_ns = block.timestamps_ns[waiting.number]
            if timestamp_ns != appended_ns:  # records of one append share their timestamp
                appended_ns = timestamp_ns
                queue_ms = self._queued_ms(waiting.request, appended_ns, began_ns)
                middle = same.after(queue_ms)
            if type(outcome) is not bytes:
                if _code_of(outcome) == "bad_input":
                    refused += 1
                else:
                    error = error or outcome
                    self.is_out_of_memory |= _code_of(outcome) == "out_of_memory"
                line = self._failure(waiting, outcome, done_ns, queue_ms, took_ms, size)
                failed.setdefault(block.partition, []).append(line)
                continue
            results = found.get(block.partition)
            if results is None:
                results = found[block.partition] = _Results([], [], [])
            results.ids.append(waiting.request.id)
            results.middles.append(middle)
            results.texts.append(outcome)
        self.scored += size
        count = sum(map(len, failed.values())) - refused
        self.failures.note(size, count, str(error), _code_of(error))
        self._send({partition: same.lines(*results) for partition, results in found.items()})
        if failed:
            self.failed += count
            self.refused += refused
            self._send(failed)

    def _queued_ms(self, request: Request, appended_ns: int, began_ns: int) -> float:
        """Return the time from the append of a request to `began_ns`, in ms; never negative.

        The append's wall time counts from the moment at which the request had come in, which is
        known on both clocks: a step of the wall clock in the queue changes nothing. For a request
        of another host only the wall times are known.
        """
        if request.host != self._host:
            wall_ns = self._clock.wall_ns() - (self._clock.monotonic_ns() - began_ns)
            return round(max(0, wall_ns - appended_ns) / 1e6, 3)
        since_ns = began_ns - request.monotonic_ns
        queued_ns = since_ns - (appended_ns - request.time_ns)
        return round(max(0, min(since_ns, queued_ns)) / 1e6, 3)

    def _failure(
        self,
        waiting: Waiting,
        error: object,
        done_ns: int,
        queue_ms: float,
        took_ms: float,
        size: int,
    ) -> bytes:
        id_, name, version = waiting.request.id, self._name, self._model.version
        code = _code_of(error)
        score = Score(id_, name, version, done_ns, queue_ms, took_ms, size, code=code)
        if code == "bad_input":
            refusal = msgspec.structs.replace(score, refusal="bad input", detail=str(error))
            return encode_score(refusal)
        return encode_score(msgspec.structs.replace(score, error=str(error)))

    def refuse(self, refused: Sequence[Refused]) -> None:
        """Report refusals, so that servers do not wait for these."""
        now_ns, version = self._clock.wall_ns(), self._model.version
        scores: dict[int, list[Score]] = {}
        for waiting, refusal, late_ms, detail in refused:
            score = Score(
                waiting.request.id,
                self._name,
                version,
                now_ns,
                refusal=refusal,
                code=REFUSAL_CODES[refusal],
                detail=detail or f"{late_ms:.1f} ms late",
            )
            scores.setdefault(waiting.block.partition, []).append(score)
        self.refused += len(refused)
        self._send({partition: SCORES.write(some) for partition, some in scores.items()})

    def report_error(
        self, requests: Sequence[tuple[int, str]], error: str, code: ReportCode
    ) -> None:
        """Report the same error for all of these requests, given as (partition, id)."""
        now_ns, version = self._clock.wall_ns(), self._model.version
        scores: dict[int, list[Score]] = {}
        for partition, id_ in requests:
            score = Score(id_, self._name, version, now_ns, error=error, code=code)
            scores.setdefault(partition, []).append(score)
        self.failed += len(requests)
        self._send({partition: SCORES.write(some) for partition, some in scores.items()})

    def _send(self, by_partition: dict[int, list[bytes]]) -> None:
        for partition, lines in by_partition.items():
            done = partial(self._sent, partition, lines)
            if failed := self._outbox.send(self._name, lines, partition, done):
                self._sent(partition, lines, failed)

    def _sent(self, partition: int, lines: list[bytes], failed: dict[int, RdvError]) -> None:
        """Handle lines that could not be recorded; called at once, or later from a thread."""
        large = [n for n, error in failed.items() if isinstance(error, RecordTooLarge)]
        if large:
            self._report_too_large(partition, {lines[n]: failed[n] for n in large})
        if lost := len(failed) - len(large):
            # The server does not get these scores; the schedule goes on without them.
            self.lost += lost
            why = next(iter(failed.values())).text()
            log.warning("%d scores lost: %s", lost, why, extra=coded("scores_lost"))

    def _report_too_large(self, partition: int, lines: dict[bytes, RdvError]) -> None:
        """Report errors in place of scores that are larger than a record may be."""
        for line, error in lines.items():
            reason = f"the score cannot be logged: {error.text()}"
            self.report_error([(partition, decode_score(line).id)], reason, "invalid_result")

    def so_far(self, partition: int) -> Callable[[], bool]:
        """Return a function that checks whether all reports until now on requests of this partition
        are in the log, or given up.
        """
        return self._outbox.sent_so_far(self._name, partition)

    def flush(self, timeout_s: float) -> None:
        """Wait until the reports that another process delays are written."""
        self._outbox.flush(timeout_s)

    def close(self) -> None:
        self._outbox.close()
