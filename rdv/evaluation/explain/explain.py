"""Collect everything that is recorded about one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from rdv.evaluation.explain.find import FoundRequest
from rdv.evaluation.explain.steps import StepStory, tell_steps
from rdv.evaluation.join import Join
from rdv.evaluation.joined import NEVER_US, OUTCOMES, Joined, concat_joined
from rdv.evaluation.liveness import read_model_news
from rdv.evaluation.notes import Notes
from rdv.evaluation.outcomes import KnownTruth, outcomes_of
from rdv.evaluation.places import Recorded
from rdv.evaluation.schedules import read_schedules
from rdv.messages import Request, Result, Score, report_code, result_code, score_outcome
from rdv.rendezvous import Report as Arrived
from rdv.schedule import Schedule

AROUND_NS = 10**9
"""How many ns of the log around the request are read, to find when late scores arrived."""


@dataclass(frozen=True)
class Report:
    """What one model reported, and when it arrived (None: never)."""

    model: str
    arrived_ms: float | None
    is_exact: bool
    is_late: bool
    """Whether it came after the decision."""
    is_chosen: bool
    outcome: str | None
    version: str | None = None
    answer: Any = None
    detail: str = ""
    code: str = ""
    queue_ms: float | None = None
    evaluation_ms: float | None = None
    batch_size: int | None = None


@dataclass(frozen=True)
class Explanation:
    """Everything about one request."""

    request: Request
    result: Result | None
    """The server's result."""
    own: Result | None
    """The proxy's own answer, which the client received instead."""
    schedule: Schedule | None
    """The schedule that decided; None if it is not recorded any more."""
    reports: list[Report]
    steps: list[StepStory]
    down: tuple[str, ...]
    """Models that were known to be dead."""
    outcomes: list[KnownTruth]
    """The recorded outcomes and their sources; the last one counts."""
    notes: Notes

    @property
    def told(self) -> Result | None:
        return self.own or self.result

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "id": self.request.id,
            "request": _fields(self.request),
            "result": _result_json(self.result),
            "own_answer": _result_json(self.own),
            "schedule": None if self.schedule is None else msgspec.to_builtins(self.schedule),
            "steps": [vars(step) for step in self.steps],
            "reports": [vars(report) for report in self.reports],
            "down": list(self.down),
            "outcomes": [
                {
                    "outcome": one.truth.outcome,
                    "time_ns": one.time_ns,
                    "source": one.truth.source or None,
                }
                for one in self.outcomes
            ],
        }


def explain(recorded: Recorded, found: FoundRequest) -> Explanation:
    """Explain a request that `find_request` has found."""
    join = Join(recorded, found.append_ns - AROUND_NS, found.append_ns + AROUND_NS)
    joined = concat_joined(list(join))
    row = int(np.flatnonzero(joined.ids == found.request.id.encode())[0])
    result, own = joined.server_result(row), joined.own_answer(row)
    told = own or result
    shelf = read_schedules(recorded, join.notes)
    asked = joined.asked.at(row)
    schedule = None if told is None else shelf.find(told.schedule, asked)
    down = read_model_news(recorded, join.notes).dead_at(found.append_ns)
    reports = _reports(joined, row, result)
    steps: list[StepStory] = []
    if schedule is not None:
        steps = _steps(joined, row, schedule, reports, down, found.request)
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


def _reports(joined: Joined, row: int, result: Result | None) -> list[Report]:
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


def _steps(
    joined: Joined,
    row: int,
    schedule: Schedule,
    reports: list[Report],
    down: frozenset[str],
    request: Request,
) -> list[StepStory]:
    history = []
    for report in reports:
        score = joined.score(joined.models.index(report.model), row)
        if report.outcome == "not sampled":
            score = Score(request.id, report.model, "", 0, refusal="not sampled")
        if report.arrived_ms is not None and score is not None:
            history.append(Arrived(round(report.arrived_ms * 1000) * 1000, score))
    live = [model for model in joined.models if model not in down]
    deadline_ms = request.deadline_ms
    return tell_steps(schedule, history, live=live, dead=down, deadline_ms=deadline_ms)


def _fields(message: Request | Result) -> dict[str, Any]:
    """Return a message's fields as plain values, but its payload as unchanged JSON.

    Nothing is parsed and encoded again, so numbers keep their digits.
    """
    raw = msgspec.json.decode(msgspec.json.encode(message), type=dict[str, msgspec.Raw])
    return {
        name: text if name in ("data", "result", "schedule") else msgspec.json.decode(text)
        for name, text in raw.items()
    }


def _result_json(result: Result | None) -> dict[str, Any] | None:
    return None if result is None else _fields(result) | {"code": result_code(result)}
