"""What a regression run has found: figures, checks, and the requests that change most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rdv.analysis.charts import share
from rdv.analysis.measure.sides import Measured, Unmeasured
from rdv.analysis.regress.limits import Check, Figures, Limits, broken, change_text
from rdv.analysis.statistics import plain
from rdv.analysis.whatif.result import WhatIf


@dataclass(frozen=True)
class Changed:
    """One request whose answer changes; `truth` is its outcome as text, None if not known."""

    id: str
    time_ns: int
    was_model: str
    model: str
    was_kind: str
    kind: str
    was_answer: str
    answer: str
    was_ms: float
    ms: float
    truth: str | None


@dataclass(frozen=True)
class Regression:
    """The recorded requests, decided by the edited schedule, compared with what was answered."""

    whatif: WhatIf
    figures: Figures
    limits: Limits
    checks: tuple[Check, ...]
    worst: tuple[Changed, ...]
    quality: tuple[Measured | Unmeasured, Measured | Unmeasured]
    """The metric of the recorded answers, and of the new ones."""
    known: int
    """Requests whose outcome is known."""
    labels: dict[str, int]
    """The schedules by which the requests were decided, with counts."""
    notes: tuple[str, ...] = ()
    """Sentences about the record, such as where a replayed model's answers come from."""

    @property
    def is_held(self) -> bool:
        return not self.broken()

    def broken(self) -> tuple[str, ...]:
        """Return the limits that are broken or cannot be judged, as text."""
        return broken(self.checks)

    def sentences(self) -> list[str]:
        """Return what changes, one sentence each."""
        figures = self.figures
        counts = f"{figures.changed:,} of {figures.requests:,} answers change"
        found = [f"{counts} ({share(self.changed_share)})."]
        if isinstance(figures.change, Unmeasured):
            found.append(f"Nothing can be said about quality: {figures.change.reason}.")
        else:
            found.append(self._quality())
        return found

    @property
    def changed_share(self) -> float:
        return self.figures.changed / max(1, self.figures.requests)

    def _quality(self) -> str:
        metric, change = self.figures.metric, self.figures.change
        assert isinstance(change, Measured)
        sides = [metric.text(one.value) for one in self.quality if isinstance(one, Measured)]
        both = f"{sides[0]} recorded, {sides[1]} now, " if len(sides) == len(self.quality) else ""
        coverage = share(self.known / max(1, self.figures.requests))
        told = f"on {self.figures.judged:,} known outcomes ({coverage} of the requests)"
        if change.interval is None:
            shown = f"{change_text(metric, change.value)}, without an interval: {change.reason}"
        elif change.interval.low == change.interval.high:
            shown = "the same answers"
        else:
            shown = change_text(metric, change.interval)
        name = metric.title[:1].upper() + metric.title[1:]
        return f"{name} {told}: {both}{shown}."

    def caveats(self) -> list[str]:
        """Return what limits the exactness of the figures, one sentence each."""
        found = [*self.notes, *self.whatif.caveats()]
        if len(self.labels) > 1:
            parts = ", ".join(f"{label} ({n:,})" for label, n in list(self.labels.items())[:5])
            found.append(f"the requests were decided by {len(self.labels)} schedules: {parts}")
        found += [str(one) for one in self.figures.findings if one.severity != "error"]
        return found

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return (columns, rows) of the limits."""
        rows = [[check.name, check.verdict, check.text] for check in self.checks]
        return ["limit", "verdict", ""], rows

    def worst_table(self) -> tuple[list[str], list[list[Any]]]:
        """Return (columns, rows) of the requests that change most."""
        columns = ["request", "recorded", "answer", "ms", "now", "answer now", "ms now", "outcome"]
        rows: list[list[Any]] = [
            [
                one.id,
                one.was_model,
                one.was_answer,
                round(one.was_ms, 1),
                one.model,
                one.answer,
                round(one.ms, 1),
                one.truth,
            ]
            for one in self.worst
        ]
        return columns, rows

    def as_json(self) -> dict[str, Any]:
        """Return the summary; checks and requests are separate lines."""
        figures = self.figures
        change = figures.change
        return {
            "schedule": self.whatif.schedule.label,
            "held": self.is_held,
            "requests": figures.requests,
            "changed": figures.changed,
            "changed_share": self.changed_share,
            "changed_interval": plain(figures.changed_share),
            "p99_ms": figures.p99_ms,
            "metric": figures.metric.name,
            "outcomes_known": self.known,
            "quality_recorded": plain(self.quality[0]),
            "quality": plain(self.quality[1]),
            "quality_change": plain(change),
            "decided_by": self.labels,
            "caveats": self.caveats(),
            "what_if": self.whatif.as_json(),
        }
