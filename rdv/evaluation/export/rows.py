"""Turn chunks of the log into rows of the tables. A record that is not a message gives no row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from rdv.evaluation.export.answer import Answers
from rdv.evaluation.notes import Notes
from rdv.evaluation.outcomes import read_truths
from rdv.evaluation.places import OWN_SUFFIX
from rdv.evaluation.reading.chunk import Chunk
from rdv.evaluation.reading.messages import read_requests, read_results, read_scores
from rdv.messages import Request, Score, Truth, report_code, result_code, score_outcome
from rdv.payload import sorted_json

_M = TypeVar("_M")
Columns = dict[str, Any]
_encode = msgspec.json.Encoder().encode


def input_rows(chunk: Chunk, notes: Notes, answers: Answers) -> Columns:
    del answers
    found, columns = _sound(chunk, read_requests(chunk), notes, "input")
    return columns | {
        "id": [r.id for r in found],
        "time": [r.time_ns for r in found],
        "proxy": [chunk.topic] * len(found),
        "key": [r.key for r in found],
        "cohort": [r.cohort for r in found],
        "schedule": [_asked(r) for r in found],
        "deadline_ms": [r.deadline_ms for r in found],
        "trace": [r.trace for r in found],
        "x_request_id": [r.x_request_id or None for r in found],
        "idempotency_key": [r.idempotency and r.idempotency.key for r in found],
        "idempotency_client": [r.idempotency and r.idempotency.client for r in found],
        "data": [bytes(r.data).decode() for r in found],
    }


def _asked(request: Request) -> str | None:
    wanted = request.schedule
    if wanted is None or isinstance(wanted, str):
        return wanted
    return sorted_json(wanted).decode()


def score_rows(chunk: Chunk, notes: Notes, answers: Answers) -> Columns:
    found, columns = _sound(chunk, read_scores(chunk), notes, "scores")
    return (
        columns
        | answers.columns(_result(s) for s in found)
        | {
            "id": [s.id for s in found],
            "model": [s.model for s in found],
            "version": [s.version for s in found],
            "time": [s.time_ns for s in found],
            "outcome": [score_outcome(s) for s in found],
            "error": [s.error for s in found],
            "code": [report_code(s) or None for s in found],
            "detail": [s.detail or None for s in found],
            "queue_ms": [s.queue_ms for s in found],
            "evaluation_ms": [s.evaluation_ms for s in found],
            "batch_size": [s.batch_size for s in found],
        }
    )


def _result(score: Score) -> bytes | None:
    return None if score.result is msgspec.UNSET else bytes(score.result)


def result_rows(chunk: Chunk, notes: Notes, answers: Answers) -> Columns:
    found, columns = _sound(chunk, read_results(chunk), notes, "results")
    is_own = chunk.topic.endswith(OWN_SUFFIX)
    return (
        columns
        | answers.columns(bytes(r.result) for r in found)
        | {
            "id": [r.id for r in found],
            "proxy": [r.reply_to for r in found],
            "answered_by": ["proxy" if is_own else "server"] * len(found),
            "kind": [r.kind for r in found],
            "model": [r.model for r in found],
            "version": [r.version for r in found],
            "reason": [r.reason or None for r in found],
            "code": [result_code(r) or None for r in found],
            "step": [r.step for r in found],
            "waited_ms": [r.waited_ms for r in found],
            "schedule": [r.schedule for r in found],
            "cohort": [r.cohort for r in found],
            "arrived": [_encode(r.arrived).decode() for r in found],
        }
    )


def outcome_rows(chunk: Chunk, notes: Notes, answers: Answers) -> Columns:
    found, columns = _sound(chunk, read_truths(chunk), notes, "outcomes")
    appended = columns["appended"].tolist()
    return (
        columns
        | answers.columns((bytes(t.outcome) for t in found), "outcome_", "outcome")
        | {
            "id": [t.id for t in found],
            "time": [_known(t, at) for t, at in zip(found, appended, strict=True)],
            "topic": [chunk.topic] * len(found),
            "source": [t.source or None for t in found],
        }
    )


def _known(truth: Truth, appended_ns: int) -> int:
    return appended_ns if truth.time_ns is None else truth.time_ns


def _sound(
    chunk: Chunk, messages: Sequence[_M | None], notes: Notes, stream: str
) -> tuple[list[_M], Columns]:
    """Return the valid messages, and the columns that every table has."""
    found = [message for message in messages if message is not None]
    times_ns, offsets = chunk.times_ns, chunk.offsets
    if len(found) < len(messages):
        notes.malformed[stream] += len(messages) - len(found)
        kept = np.array([message is not None for message in messages], bool)
        times_ns, offsets = times_ns[kept], offsets[kept]
    partitions = np.full(len(found), chunk.partition, np.int64)
    return found, {"appended": times_ns, "offset": offsets, "partition": partitions}


Rows = Callable[[Chunk, Notes, Answers], Columns]
