"""Make the rows of the tables, from chunks of the log and from batches of the join.

A record that is not a message gives no row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.chunk import Chunk, read_requests, read_results, read_scores
from rdv.analysis.dataset.joined import (
    ABSENT,
    ANSWERED_BY,
    KINDS,
    NEVER_US,
    OUTCOMES,
    RESULT,
    Joined,
)
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import Outcomes, read_truths
from rdv.analysis.export.arrow import NOTHING, Answers
from rdv.payload import sorted_json
from rdv.rendezvous.messages import (
    Request,
    Result,
    Score,
    Truth,
    report_code,
    result_code,
    score_outcome,
)
from rdv.rendezvous.topology import BACKSTOP_SUFFIX

_M = TypeVar("_M")
Columns = dict[str, Any]
_encode = msgspec.json.Encoder().encode
Rows = Callable[[Chunk, Notes, Answers], Columns]


def input_rows(chunk: Chunk, notes: Notes, answers: Answers) -> Columns:
    del answers
    found, columns = _sound(chunk, read_requests(chunk), notes, "input")
    return columns | {
        "id": [r.id for r in found],
        "time": [r.time_ns for r in found],
        "proxy": [chunk.topic] * len(found),
        "key": [r.key for r in found],
        "cohort": [r.cohort for r in found],
        "propensity": [r.propensity for r in found],
        "schedule": [_asked(r) for r in found],
        "deadline_ms": [r.deadline_ms for r in found],
        "trace": [r.trace for r in found],
        "x_request_id": [r.x_request_id or None for r in found],
        "traceparent": [r.traceparent or None for r in found],
        "tracestate": [r.tracestate or None for r in found],
        "enriched_ms": [r.enriched_ms or None for r in found],
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
    is_own = chunk.topic.endswith(BACKSTOP_SUFFIX)
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
            "propensity": [r.propensity for r in found],
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


def joined_rows(joined: Joined, outcomes: Outcomes, answers: Answers) -> dict[str, Any]:
    """Return the columns of the table `joined`."""
    rows = range(len(joined))
    ids = [joined.id(row) for row in rows]
    given = [_client_answer(joined, row) for row in rows]
    truths = [outcomes.raw(id_) for id_ in ids]
    return {
        "id": ids,
        "time": joined.time_ns,
        "appended": joined.append_ns,
        "proxy": [joined.proxy.at(row) for row in rows],
        "key": joined.key.cast("string"),
        "cohort": [joined.cohort.at(row) for row in rows],
        "propensity": [_propensity(joined.propensity, row) for row in rows],
        "asked": [joined.asked.at(row) for row in rows],
        "deadline_ms": _floats(joined.deadline_ms),
        "data": [bytes(joined.request(row).data).decode() for row in rows],
        "kind": [KINDS[code] for code in joined.kind.tolist()],
        "model": [joined.model.at(row) for row in rows],
        "version": [joined.version.at(row) for row in rows],
        **answers.columns(None if one is None else bytes(one.result) for one in given),
        "code": [None if one is None else result_code(one) or None for one in given],
        "step": joined.step.astype(np.int64),
        "waited_ms": _floats(joined.waited_ms),
        "schedule": [joined.label.at(row) for row in rows],
        "answered_by": [ANSWERED_BY[code] for code in joined.answered_by.tolist()],
        **answers.columns(truths, "outcome_", "outcome"),
        "reports": [_reports(joined, row, answers) for row in rows],
    }


def _floats(values: Any) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124  NaN


def _client_answer(joined: Joined, row: int) -> Result | None:
    return joined.own_answer(row) or joined.server_result(row)


def _reports(joined: Joined, row: int, answers: Answers) -> list[dict[str, Any]]:
    found = []
    for model in np.flatnonzero(joined.outcome[:, row] != ABSENT).tolist():
        code, arrival_us = int(joined.outcome[model, row]), int(joined.arrival_us[model, row])
        answer = NOTHING
        if code == RESULT and (score := joined.score(model, row)) is not None:
            raw = score.result
            answer = answers.of_json(None if raw is msgspec.UNSET else bytes(raw))
        found.append(
            {
                "model": joined.models[model],
                "outcome": OUTCOMES[code],
                "arrived_ms": None if arrival_us == NEVER_US else arrival_us / 1000,
                "is_exact": bool(joined.is_exact[model, row]),
                "label": answer.label,
                "score": answer.score,
            }
        )
    return found


def _propensity(column: npt.NDArray[np.float64] | None, row: int) -> float | None:
    """Return the probability of a request's schedule; None if it was not drawn."""
    if column is None or np.isnan(column[row]):
        return None
    return float(column[row])
