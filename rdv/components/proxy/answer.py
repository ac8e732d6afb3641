"""Builds what the client receives: the body of a 200. Pure."""

from __future__ import annotations

import msgspec
import orjson

from rdv.codes import ResultCode
from rdv.messages import Request, Result
from rdv.schedule import Schedule


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Contains the answer to `POST /v1/decide`."""

    id: str
    result: msgspec.Raw
    model: str | None
    version: str | None
    kind: str
    reason: str
    code: str
    step: int
    waited_ms: float
    schedule: str
    cohort: str | None
    answered_by: str


class TracedAnswer(Answer, frozen=True, gc=False):
    """Adds the arrivals, for a client that has asked for a trace."""

    trace: list[dict[str, object]]


_encode = msgspec.json.Encoder().encode


def answer_body(result: Result, waited_ms: float, *, trace: bool) -> bytes:
    """Return the JSON of an answer; `waited_ms` is by the proxy's own clock."""
    plain = (
        result.id,
        result.result,
        result.model,
        result.version,
        result.kind,
        result.reason,
        result.code,
        result.step,
        round(waited_ms, 3),
        result.schedule,
        result.cohort,
        result.answered_by,
    )
    if not trace:
        return _encode(Answer(*plain)) + b"\n"
    arrivals: list[dict[str, object]] = [
        {"model": a.model, "arrived_ms": a.arrived_ms, "outcome": a.outcome} for a in result.arrived
    ]
    return _encode(TracedAnswer(*plain, trace=arrivals)) + b"\n"


def backstop_result(
    request: Request, schedule: Schedule, waited_ms: float, code: ResultCode, reason: str
) -> Result:
    """Return the marked default, from the proxy itself."""
    return Result(
        request.id,
        request.reply_to,
        "default",
        msgspec.Raw(orjson.dumps(schedule.default)),
        schedule.label,
        round(waited_ms, 3),
        reason=reason,
        code=code,
        cohort=request.cohort,
        answered_by="proxy",
    )
