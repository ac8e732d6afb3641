"""The spans of one decision. Pure.

The root is the request as the proxy served it, by OpenTelemetry's conventions for HTTP servers. It
always has the name and the route of `POST /v1/decide`: the log does not say by which protocol a
request came. Below it is a span for each model that reported, of the kind CLIENT if it is behind
HTTP: from when the request waited for it to when its report arrived. Those that came after the
answer end after the root. The steps of the schedule are events of the root, and enrichers have a
span as well. All times are the proxy's wall time plus what monotonic clocks have measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rdv.analysis.explain.result import ExplainedStep, Report
from rdv.rendezvous.messages import Request, Result, result_code
from rdv.trace_context import caller_of, span_id_of, trace_id_of

ROOT_NAME = "POST /v1/decide"
TEXT_CHARACTERS_MAX = 1_000
"""How much of a reason, or of what a model raised, is exported."""

NS_PER_MS = 1_000_000
MS_MAX = 1e9

Value = str | bool | int | float | tuple[str, ...]
Attributes = Mapping[str, Value | None]
"""Those that are None are left out."""

ENRICHER_ID = "\nenrich"
"""What the id of the enricher's span is made of: no model has such a name."""

FAILED = ("error", "unavailable")
NO_ANSWER = "no_answer"
"""The `error.type` of a root without an answer."""
NOT_ASKED = (None, "not sampled")

_RAISED = re.compile(r"([A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Warning))\b:? ?")


@dataclass(frozen=True)
class Event:
    """Something that happened in a span."""

    name: str
    time_ns: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True)
class Span:
    """A span, with wall times in ns and ids in hex."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Literal["server", "client", "internal"]
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: tuple[Event, ...] = ()
    error: str | None = None
    """What went wrong; None: nothing."""
    tracestate: str = ""
    has_remote_parent: bool = False


@dataclass(frozen=True)
class Recorded:
    """What is known of one decision."""

    decision: str
    request: Request
    answer: Result | None
    """What the client received."""
    reports: Sequence[Report] = ()
    steps: Sequence[ExplainedStep] = ()
    reasons: tuple[str, ...] = ()
    """Why it is exported."""
    remote: frozenset[str] = frozenset()
    """The models behind HTTP: their servers' spans are children of theirs."""


def spans_of(one: Recorded) -> list[Span]:
    """Return the root, and below it the span of each model."""
    request = one.request
    caller = caller_of(request.traceparent)
    root_id = span_id_of(request.id, "")
    start_ns, answer = request.time_ns, one.answer
    end_ns = start_ns if answer is None else start_ns + _ns(answer.waited_ms)
    root = Span(
        trace_id_of(request.id, request.traceparent),
        root_id,
        "" if caller is None else caller.span_id,
        ROOT_NAME,
        "server",
        start_ns,
        end_ns,
        _root_attributes(one),
        tuple(_root_events(one, start_ns, end_ns)),
        "no answer is recorded" if answer is None else None,
        request.tracestate,
        caller is not None,
    )
    reports = [report for report in one.reports if report.outcome not in NOT_ASKED]
    models = (_model_span(root, request, report, one.remote) for report in reports)
    if request.enriched_ms <= 0:
        return [root, *models]
    return [root, _enricher_span(root, request), *models]


def unasked_spans(decision: str, time_ns: int, answer: Result, reasons: tuple[str, ...]) -> Span:
    """Return the span of an answer for which no model was asked, and no request is recorded.

    `time_ns` is when it was appended.
    """
    start_ns = max(0, time_ns - _ns(answer.waited_ms))
    return Span(
        trace_id_of(answer.id, ""),
        span_id_of(answer.id, ""),
        "",
        ROOT_NAME,
        "server",
        start_ns,
        time_ns,
        _http_attributes() | _answer_attributes(decision, answer, reasons),
    )


def _ns(ms: float) -> int:
    """Return a recorded duration in ns; a negative one is none, and it has a limit."""
    return round(min(max(0.0, ms), MS_MAX) * NS_PER_MS)


def _short(text: str | None) -> str | None:
    return text[:TEXT_CHARACTERS_MAX] if text else None


def _http_attributes() -> dict[str, Value | None]:
    return {
        "http.request.method": "POST",
        "http.route": "/v1/decide",
        "url.path": "/v1/decide",
    }


def _answer_attributes(
    decision: str, answer: Result, reasons: tuple[str, ...]
) -> dict[str, Value | None]:
    return {
        "http.response.status_code": 200,
        "rdv.decision": decision,
        "rdv.id": answer.id,
        "rdv.proxy": answer.reply_to,
        "rdv.kind": answer.kind,
        "rdv.model": answer.model,
        "rdv.version": answer.version,
        "rdv.schedule": answer.schedule,
        "rdv.step": answer.step or None,
        "rdv.waited_ms": answer.waited_ms,
        "rdv.code": result_code(answer) or None,
        "rdv.reason": _short(answer.reason),
        "rdv.cohort": answer.cohort,
        "rdv.answered_by": answer.answered_by,
        "rdv.propensity": answer.propensity,
        "rdv.exported_as": reasons or None,
    }


def _root_attributes(one: Recorded) -> Attributes:
    request, found = one.request, _http_attributes()
    if one.answer is not None:
        found |= _answer_attributes(one.decision, one.answer, one.reasons)
    reported = {report.model for report in one.reports if report.outcome is not None}
    silent = request.windows_ms.keys() - reported - set(request.not_asked)
    return found | {
        "rdv.decision": one.decision,
        "rdv.id": request.id,
        "rdv.proxy": request.reply_to,
        "rdv.cohort": request.cohort,
        "rdv.deadline_ms": request.deadline_ms,
        "rdv.x_request_id": request.x_request_id or None,
        "rdv.invalid": _short(request.invalid),
        "rdv.silent_models": tuple(sorted(silent)) or None,
        "rdv.exported_as": one.reasons or None,
        "error.type": NO_ANSWER if one.answer is None else None,
    }


def _root_events(one: Recorded, start_ns: int, end_ns: int) -> list[Event]:
    events = [
        Event(
            f"step {step.number}",
            min(end_ns, start_ns + _ns(step.begin_ms)),
            {
                "rdv.step.accept": step.accepts,
                "rdv.step.need": step.need,
                "rdv.step.end_ms": step.end_ms,
                "rdv.step.ended": step.ended,
            },
        )
        for step in one.steps
    ]
    if one.answer is not None:
        said = {"rdv.kind": one.answer.kind, "rdv.model": one.answer.model}
        events.append(Event("answered", end_ns, said))
    return events


def _enricher_span(root: Span, request: Request) -> Span:
    return Span(
        root.trace_id,
        span_id_of(request.id, ENRICHER_ID),
        root.span_id,
        "enrich",
        "internal",
        root.start_ns,
        root.start_ns + _ns(request.enriched_ms),
        {"rdv.id": request.id, "rdv.enriched_ms": request.enriched_ms},
        tracestate=root.tracestate,
    )


def _model_span(
    root: Span, request: Request, report: Report, remote: frozenset[str] = frozenset()
) -> Span:
    end_ns = root.start_ns + _ns(report.arrived_ms or 0.0)
    evaluated_ns = max(root.start_ns, end_ns - _ns(report.evaluation_ms or 0.0))
    start_ns = max(root.start_ns, evaluated_ns - _ns(report.queue_ms or 0.0))
    events = []
    if report.evaluation_ms:
        events.append(Event("evaluation", evaluated_ns))
    error = kind = None
    if report.outcome in FAILED:
        error = _short(report.detail) or report.outcome
        raised = _RAISED.match(error)
        kind = raised[1] if raised is not None else report.code or report.outcome
        said = {"exception.type": kind, "exception.message": error}
        events.append(Event("exception", end_ns, said))
    return Span(
        root.trace_id,
        span_id_of(request.id, report.model),
        root.span_id,
        f"model {report.model}",
        "client" if report.model in remote else "internal",
        start_ns,
        end_ns,
        {
            "rdv.id": request.id,
            "rdv.model": report.model,
            "rdv.version": report.version,
            "rdv.outcome": report.outcome,
            "rdv.code": report.code or None,
            "rdv.queue_ms": report.queue_ms,
            "rdv.evaluation_ms": report.evaluation_ms,
            "rdv.batch_size": report.batch_size,
            "rdv.arrived_ms": report.arrived_ms,
            "rdv.is_late": report.is_late,
            "rdv.is_chosen": report.is_chosen,
            "rdv.detail": None if error else _short(report.detail),
            "error.type": kind,
        },
        tuple(events),
        error,
        root.tracestate,
    )
