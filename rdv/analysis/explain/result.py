"""What is recorded about one request: its steps, its reports, its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import KnownTruth
from rdv.rendezvous.messages import Request, Result, result_code
from rdv.rendezvous.schedule import Schedule


@dataclass(frozen=True)
class ExplainedStep:
    """One step: its times, the models that it accepts, which had answered, and how it ended."""

    number: int
    begin_ms: float
    end_ms: float
    accepts: tuple[str, ...]
    need: str
    eligible: tuple[str, ...]
    """The models that the step accepts and that had answered by its end; best rank first."""
    ended: str


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
    steps: list[ExplainedStep]
    down: tuple[str, ...]
    """Models that were known to be dead."""
    outcomes: list[KnownTruth]
    """The recorded outcomes and their sources; the last one counts."""
    notes: Notes

    def _repr_html_(self) -> str:
        """Return the report, for notebooks."""
        from rdv.analysis.explain.view import explain_report

        return explain_report(self).fragment()

    @property
    def answer(self) -> Result | None:
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
