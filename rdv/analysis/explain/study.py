"""Find one request by its id (or a part of it), and collect everything recorded about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np

from rdv.analysis.dataset.chunk import Chunk
from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import NEVER_US, OUTCOMES, Joined, concat_joined
from rdv.analysis.dataset.liveness import read_model_news
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import outcomes_of
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.schedules import read_schedules
from rdv.analysis.dataset.source import Source, sources
from rdv.analysis.errors import AmbiguousId, IdTooShort, RequestNotFound
from rdv.analysis.explain.result import ExplainedStep, Explanation, Report
from rdv.analysis.explain.steps import explain_steps
from rdv.rendezvous.messages import (
    MalformedMessage,
    Request,
    Result,
    Score,
    decode_request,
    report_code,
    score_outcome,
)
from rdv.rendezvous.reference import Report as Arrived
from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.topology import INPUT

DIGITS_MIN = 6
FOUND_MAX = 3
AROUND_NS = 10**9
"""How many ns of the log around the request are read, to find when late scores arrived."""


class FoundRequest(NamedTuple):
    """A request, and when it was appended."""

    request: Request
    append_ns: int


def find_request(recorded: Recorded, id_: str, when: Callable[[int], str] = str) -> FoundRequest:
    """Return the one request whose id is, begins with or ends with `id_`.

    (Ids of rdv 0.1.0 begin alike and differ in their last digits.) `when` formats a time in ns
    since 1970 for the error. Raises RequestNotFound, AmbiguousId, IdTooShort.
    """
    if len(id_) < DIGITS_MIN:
        raise IdTooShort(id_, DIGITS_MIN)
    text = re.escape(id_.encode())
    pattern = re.compile(rb'"id":"(?:' + text + rb'[^"]*|[^"]*' + text + rb')"')
    notes, found = Notes(), dict[str, FoundRequest]()
    parts = sources(recorded.stream(INPUT))
    for part in parts:
        for chunk in part.chunks(part.begin, part.end, notes):
            for one in _matches(chunk, pattern, id_):
                if one.request.id == id_:
                    return one
                found.setdefault(one.request.id, one)
                if len(found) > FOUND_MAX:
                    raise AmbiguousId(id_, tuple(found)[:FOUND_MAX])
    if len(found) > 1:
        raise AmbiguousId(id_, tuple(found))
    if not found:
        raise RequestNotFound(recorded.directory, id_, _begins(parts, when), tuple(notes.gaps))
    return next(iter(found.values()))


def _matches(chunk: Chunk, pattern: re.Pattern[bytes], id_: str) -> list[FoundRequest]:
    blob = chunk.blob()
    found = []
    for match in pattern.finditer(blob):
        ends = chunk.ends()
        row = int(np.searchsorted(ends, match.start(), "right"))
        try:
            request = decode_request(chunk.line(row))
        except MalformedMessage:
            continue
        # The client's own data may have such a field too.
        if request.id.startswith(id_) or request.id.endswith(id_):
            found.append(FoundRequest(request, int(chunk.times_ns[row])))
    return found


def _begins(parts: list[Source], when: Callable[[int], str]) -> str:
    times_ns = [part.time_at(part.begin) for part in parts if part.begin < part.end]
    known = [time_ns for time_ns in times_ns if time_ns]
    return when(min(known)) if known else ""


def explain(recorded: Recorded, found: FoundRequest) -> Explanation:
    """Explain a request that `find_request` has found."""
    join = Join(recorded, found.append_ns - AROUND_NS, found.append_ns + AROUND_NS)
    joined = concat_joined(list(join))
    row = int(np.flatnonzero(joined.ids == found.request.id.encode())[0])
    result, own = joined.server_result(row), joined.own_answer(row)
    answer = own or result
    shelf = read_schedules(recorded, join.notes)
    asked = joined.asked.at(row)
    schedule = None if answer is None else shelf.find(answer.schedule, asked)
    down = read_model_news(recorded, join.notes).dead_at(found.append_ns)
    reports = reports_of(joined, row, result)
    steps: list[ExplainedStep] = []
    if schedule is not None:
        steps = steps_of(joined, row, schedule, reports, down, found.request)
    return Explanation(
        found.request,
        result,
        own,
        schedule,
        reports,
        steps,
        tuple(sorted(down)),
        outcomes_of(recorded, found.request.id, join.notes),
        join.notes,
    )


def reports_of(joined: Joined, row: int, result: Result | None) -> list[Report]:
    """Return the reports in order of arrival; models that have not reported come last."""
    chosen = set((result.model or "").split("+")) if result is not None else set()
    reports = []
    arrived = joined.arrival_us[:, row].astype(np.int64)
    order = joined.order[:, row].tolist()
    numbers = sorted(range(len(joined.models)), key=lambda n: (int(arrived[n]), order[n]))
    for number in numbers:
        model, score = joined.models[number], joined.score(number, row)
        is_exact = bool(joined.is_exact[number, row])
        outcome = OUTCOMES[int(joined.outcome[number, row])]
        is_chosen = is_exact and outcome == "result" and model in chosen
        at_ms = None if arrived[number] == NEVER_US else float(arrived[number]) / 1000
        if score is None or (is_exact and outcome != score_outcome(score)):
            # Not asked, or not recorded any more: the result still has its outcome.
            reports.append(Report(model, at_ms, is_exact, False, is_chosen, outcome))
            continue
        has_answer = not isinstance(score.result, msgspec.UnsetType)
        reports.append(
            Report(
                model,
                at_ms,
                is_exact,
                not is_exact,
                is_chosen,
                outcome,
                score.version,
                score.result if has_answer else None,
                score.error or score.detail,
                report_code(score),
                score.queue_ms,
                score.evaluation_ms,
                score.batch_size,
            )
        )
    return reports


def steps_of(
    joined: Joined,
    row: int,
    schedule: Schedule,
    reports: list[Report],
    down: frozenset[str],
    request: Request,
) -> list[ExplainedStep]:
    history = []
    for report in reports:
        score = joined.score(joined.models.index(report.model), row)
        if report.outcome == "not sampled":
            score = Score(request.id, report.model, "", 0, refusal="not sampled")
        if report.arrived_ms is not None and score is not None:
            history.append(Arrived(round(report.arrived_ms * 1000) * 1000, score))
    live = [model for model in joined.models if model not in down]
    left_out = request.not_asked if request.names_models else []
    return explain_steps(
        schedule,
        history,
        live=live,
        dead=down,
        deadline_ms=request.deadline_ms,
        left_out=left_out,
    )
