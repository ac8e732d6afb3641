"""The findings of a what-if: both sides, what changes, and how exact it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rdv.evaluation.notes import Notes
from rdv.evaluation.whatif.side import Side
from rdv.schedule import Schedule


@dataclass
class WhatIf:
    """Both sides, what changes, and how exact it is."""

    schedule: Schedule
    recorded: Side = field(default_factory=Side)
    new: Side = field(default_factory=Side)
    best: Side = field(default_factory=Side)
    worst: Side = field(default_factory=Side)
    """Bounds: every refusal counted as an answer at that moment, or as silence."""
    refused: int = 0
    """Requests that at least one accepted model has refused."""
    changed_model: int = 0
    changed_answer: int = 0
    compared: int = 0
    """Requests whose two answers both have a value."""
    change_sum: float = 0.0
    change_max: float = 0.0
    """The largest absolute difference, if values are numbers."""
    is_number: bool | None = None
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(recorded, new) by the answering model, where that changes."""
    own_answers: int = 0
    """Requests that a proxy had to answer by itself."""
    other_schedules: int = 0
    """Requests that had asked for another schedule, and keep it."""
    never_ran: tuple[str, ...] = ()
    """Models that the schedule names, and that have no score at all."""
    outcomes: int = 0
    notes: Notes = field(default_factory=Notes)
    sla_was_ms: set[float] = field(default_factory=set)

    @property
    def mean_change(self) -> float | None:
        """Mean absolute difference of the answers' values; None unless they are numbers."""
        return self.change_sum / self.compared if self.is_number and self.compared else None

    def caveats(self) -> list[str]:
        """Return what limits the exactness of the figures, one sentence each."""
        said = []
        if self.refused:
            said.append(
                f"{self.refused:,} requests were refused by a model that the schedule accepts: "
                "when it would have answered is not known; see the bounds"
            )
        if self.never_ran:
            said.append(
                f"{', '.join(self.never_ran)} did not run: counted as silent; with it, answers "
                "could be as good and as quick as it is"
            )
        slas = self.sla_was_ms - {self.schedule.sla_ms}
        if slas:
            were = ", ".join(f"{ms:g}" for ms in sorted(slas))
            said.append(
                f"the SLA was {were} ms and would be {self.schedule.sla_ms:g} ms: models refuse "
                "by it, and would have refused others"
            )
        if self.own_answers:
            said.append(
                f"{self.own_answers:,} requests were answered by a proxy itself, since no result "
                "had come: here the server is there all the time"
            )
        if self.outcomes and not self.new.judged:
            said.append("outcomes and answers cannot be compared: name the field with --on")
        return said + self.notes.lines()

    def as_json(self) -> dict[str, Any]:
        """Return all figures."""
        count = max(1, self.recorded.requests)
        return {
            "schedule": self.schedule.label,
            "recorded": self.recorded.as_json(),
            "what_if": self.new.as_json(),
            "best": self.best.as_json() if self.refused else None,
            "worst": self.worst.as_json() if self.refused else None,
            "changed_model": self.changed_model / count,
            "changed_answer": self.changed_answer / max(1, self.compared),
            "compared": self.compared,
            "mean_change": self.mean_change,
            "largest_change": self.change_max if self.is_number else None,
            "changes": [
                {"recorded": was, "what_if": now, "requests": n}
                for (was, now), n in self.changes.most_common(20)
            ],
            "refused": self.refused,
            "own_answers": self.own_answers,
            "other_schedules": self.other_schedules,
            "never_ran": list(self.never_ran),
            "caveats": self.caveats(),
            "notes": self.notes.as_json(),
        }
