"""An `Answer` is one decision, as the caller gets it."""

from __future__ import annotations

import html
from typing import Any

import msgspec
import orjson


class Arrived(msgspec.Struct, frozen=True, gc=False):
    """Says which model had reported by the decision, when, and with which outcome."""

    model: str
    arrived_ms: float
    """Milliseconds from the start of the request."""
    outcome: str
    """result, behind, expired, not sampled, unavailable, bad input or error."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """An `Answer` is one decision: the model's result, and which model gave it, when and why.

    Immutable, as long as no caller changes a list or an object inside `answer`. Thread-safe.
    """

    answer: Any
    """The result: the chosen model's, the schedule's default, or the caller's own default."""
    id: str
    """The request's id, for outcomes and `explain`; empty for the caller's own default."""
    kind: str
    """`preferred`: what the schedule asks for first; `fallback`: another model; `default`."""
    model: str | None
    """The model that answered; `a+b` when the schedule combines them; None for a default."""
    version: str | None
    """The version of that model."""
    reason: str
    """Why it is not the preferred answer, as a sentence; else empty."""
    code: str
    """The same for programs (CODES.md); for the caller's own default, the code of the error."""
    step: int
    """The step of the schedule that decided, from 1; 0 when no step did."""
    waited_ms: float
    """Milliseconds from the request's arrival to its answer, by the clock of who answered."""
    schedule: str
    """Name and content hash of the schedule that decided."""
    cohort: str | None
    """The cohort of the request's key."""
    answered_by: str
    """`server`, `proxy`, `local` (`rdv.local`), or `caller`: its own default, as none answered."""
    trace: tuple[Arrived, ...] | None = None
    """With `trace=True` only: which models had reported by then."""
    scores: dict[str, Any] | None = None
    """With `all_models=True` of `rdv.local` only: the results of all models that had one."""

    @property
    def is_preferred(self) -> bool:
        """Whether this is what the schedule asks for first."""
        return self.kind == "preferred"

    @property
    def is_default(self) -> bool:
        """Whether no model gave this answer: the schedule's default, or the caller's own."""
        return self.kind == "default"

    def _repr_html_(self) -> str:
        """Return the answer as an HTML table, for notebooks."""
        rows = [
            ("answer", _shown(self.answer)),
            ("kind", self.kind),
            ("model", " ".join(filter(None, (self.model, self.version)))),
            ("reason", f"{self.reason} [{self.code}]" if self.code else self.reason),
            ("waited", f"{self.waited_ms:.3f} ms"),
            ("schedule", f"{self.schedule}, step {self.step or 'none'}"),
            ("cohort", self.cohort or ""),
            ("id", self.id),
        ]
        rows += [
            (one.model, f"{one.outcome} after {one.arrived_ms:.3f} ms") for one in self.trace or ()
        ]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in rows
            if text
        )
        return f"<table>{cells}</table>"


def _shown(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):
        return repr(value)


class Reply(msgspec.Struct, frozen=True):
    """Is the body of a 200 of `POST /v1/decide`; unknown fields are ignored."""

    id: str
    result: Any
    kind: str
    model: str | None = None
    version: str | None = None
    reason: str = ""
    code: str = ""
    step: int = 0
    waited_ms: float = 0.0
    schedule: str = ""
    cohort: str | None = None
    answered_by: str = "server"
    trace: list[Arrived] | None = None

    def answer(self) -> Answer:
        """Return it as an Answer."""
        return Answer(
            self.result,
            self.id,
            self.kind,
            self.model,
            self.version,
            self.reason,
            self.code,
            self.step,
            self.waited_ms,
            self.schedule,
            self.cohort,
            self.answered_by,
            None if self.trace is None else tuple(self.trace),
        )


class Answers(msgspec.Struct, frozen=True):
    """Is the body of a 200 of `POST /v1/decide` with several rows."""

    answers: list[msgspec.Raw]


def own_default(value: Any, code: str, reason: str, waited_ms: float) -> Answer:
    """Return the caller's own default, marked as such."""
    return Answer(
        value, "", "default", None, None, reason, code, 0, waited_ms, "", None, "caller"
    )  # fmt: skip
