"""What a what-if has found: the figures of both sides, what changes, and how exact it is.

A side has the figures of the recorded decisions, or of those of another schedule. The new answers
are computed here too (`values_of`, `names_of`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from rdv.analysis.dataset.joined import DEFAULT, FALLBACK, KINDS, NO_RESULT, PREFERRED, Joined
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.values import Extract
from rdv.analysis.exploration.result import Explored
from rdv.analysis.measure import Contrast
from rdv.analysis.measure.contrast import as_interval
from rdv.analysis.statistics import plain
from rdv.analysis.whatif.decide import NO_MODEL, Decided
from rdv.rendezvous.rules import combine_results
from rdv.rendezvous.schedule import OTHERS, Schedule

Floats = npt.NDArray[np.float64]

_FINE_US, _FINE_BINS = 10, 100_000
_COARSE_US, _COARSE_BINS = 1_000, 3_600_000
"""The width and number of the bins: waits are counted to 10 µs below a second, to 1 ms above."""


@dataclass
class Waits:
    """A distribution of waits: exact counts in narrow bins, so that batches add up."""

    _fine: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_FINE_BINS, np.int64))
    _coarse: Counter[int] = field(default_factory=Counter)
    _sum_us: float = 0.0
    count: int = 0

    def add(self, waits_us: npt.NDArray[np.int64]) -> None:
        fine = waits_us // _FINE_US
        is_fine = fine < _FINE_BINS
        self._fine += np.bincount(fine[is_fine], minlength=_FINE_BINS)
        self._coarse.update((waits_us[~is_fine] // _COARSE_US).tolist())
        self._sum_us += float(waits_us.sum())
        self.count += len(waits_us)

    def quantile_ms(self, share: float) -> float | None:
        """Return the wait that the share does not exceed, to a bin's width; None without waits."""
        if not self.count:
            return None
        wanted = max(1, int(np.ceil(share * self.count - 1e-9)))
        upto = np.cumsum(self._fine)
        if upto[-1] >= wanted:
            return float(np.searchsorted(upto, wanted)) * _FINE_US / 1000
        left = wanted - int(upto[-1])
        for at in sorted(self._coarse):
            left -= self._coarse[at]
            if left <= 0:
                return at * _COARSE_US / 1000
        return None

    @property
    def mean_ms(self) -> float | None:
        return self._sum_us / self.count / 1000 if self.count else None


@dataclass
class Side:
    """Sums over requests, to which batches are added."""

    requests: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    steps: Counter[int] = field(default_factory=Counter)
    in_time: int = 0
    """Requests answered by a model within the SLA."""
    waits: Waits = field(default_factory=Waits)
    right: float = 0.0
    judged: int = 0
    """Requests whose outcome is known, and can be compared with answers."""

    def add(
        self,
        kind: npt.NDArray[np.uint8],
        step: npt.NDArray[Any],
        waited_us: npt.NDArray[np.int64],
        in_time: npt.NDArray[np.bool_],
    ) -> None:
        """Add a batch. Requests without a result only count as requests."""
        self.requests += len(kind)
        for code in (PREFERRED, FALLBACK, DEFAULT):
            self.kinds[str(KINDS[code])] += int((kind == code).sum())
        there = kind != NO_RESULT
        for number, count in enumerate(np.bincount(step[there].astype(np.int64))):
            self.steps[number] += int(count)
        self.in_time += int(in_time.sum())
        self.waits.add(waited_us[there])

    def judge(self, right: npt.NDArray[np.float64]) -> None:
        """Add 1, 0 or NaN for each request."""
        known = ~np.isnan(right)
        self.judged += int(known.sum())
        self.right += float(right[known].sum())

    def bounds_json(self) -> dict[str, Any]:
        """Return the figures that have bounds."""
        figures = self.as_json()
        return {name: figures[name] for name in figures if name not in ("models", "steps")}

    def share(self, kind: str) -> float:
        """Return the share of a kind among all requests."""
        return self.kinds[kind] / self.requests if self.requests else 0.0

    @property
    def accuracy(self) -> float | None:
        return self.right / self.judged if self.judged else None

    def as_json(self) -> dict[str, Any]:
        """Return shares of all requests, and waits in ms."""
        count = max(1, self.requests)
        return {
            "requests": self.requests,
            "sla_attainment": self.in_time / count,
            **{kind: self.kinds[kind] / count for kind in ("preferred", "fallback", "default")},
            "models": {name: n / count for name, n in self.models.most_common()},
            "steps": {str(number): n / count for number, n in sorted(self.steps.items()) if n},
            "mean_ms": self.waits.mean_ms,
            "p50_ms": self.waits.quantile_ms(0.5),
            "p90_ms": self.waits.quantile_ms(0.9),
            "p99_ms": self.waits.quantile_ms(0.99),
            "p999_ms": self.waits.quantile_ms(0.999),
            "accuracy": self.accuracy,
            "judged": self.judged,
        }


@dataclass
class WhatIf:
    """Both sides, what changes, and how exact it is."""

    schedule: Schedule
    recorded: Side = field(default_factory=Side)
    new: Side = field(default_factory=Side)
    low: Side = field(default_factory=Side)
    high: Side = field(default_factory=Side)
    """Bounds: every figure's lowest and highest value, whatever the refusing models would have
    answered, and when.
    """
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
    reading: str = ""
    """How answers are judged by outcomes, in words."""
    problem: str = ""
    """Why the outcomes do not tell which answers are right; empty if they do, or there are none."""
    attained: Contrast | None = None
    """Requests that a model answers within the SLA: by the new schedule, and as recorded."""
    right: Contrast | None = None
    """Right answers, where the outcome is known; None if these are not judged."""
    metric: Contrast | None = None
    """Both sides by the metric that was asked for, or the usual one."""
    base_rate: str = ""
    """How often an answer that never changes would be right, in words."""
    lacking: tuple[str, ...] = ()
    """Models that never answer with what is judged: their answers do not count."""
    exploration: Explored | None = None
    """What randomised requests say of both schedules; None where no outcome is recorded, or if it
    was not asked for.
    """
    notes: Notes = field(default_factory=Notes)
    sla_was_ms: set[float] = field(default_factory=set)

    def _repr_html_(self) -> str:
        """Return the report, for notebooks."""
        from rdv.analysis.whatif.view import whatif_report

        return whatif_report(self).fragment()

    @property
    def mean_change(self) -> float | None:
        """Mean absolute difference of the answers' values; None unless they are numbers."""
        return self.change_sum / self.compared if self.is_number and self.compared else None

    def sentences(self) -> list[str]:
        """Return what changes by the figures that count, with intervals whose unit is the key."""
        found = [] if self.attained is None else [self.attained.sentence()]
        if self.metric is not None and not self.problem:
            found.append(self.metric.sentence())
        return found

    def caveats(self) -> list[str]:
        """Return what limits the exactness of the figures, one sentence each."""
        found = []
        if self.refused:
            found.append(
                f"{self.refused:,} requests were refused by a model that the schedule accepts: "
                "when it would have answered is not known; see the bounds"
            )
        if self.never_ran:
            found.append(
                f"{', '.join(self.never_ran)} did not run, so counts as silent here; with it, "
                "answers may be better or quicker"
            )
        slas = self.sla_was_ms - {self.schedule.sla_ms}
        if slas:
            were = ", ".join(f"{ms:g}" for ms in sorted(slas))
            found.append(
                f"the SLA was {were} ms and would be {self.schedule.sla_ms:g} ms: models refuse "
                "by it, and would have refused other requests"
            )
        if self.own_answers:
            found.append(
                f"{self.own_answers:,} requests were answered by a proxy itself, since no result "
                "had come; here the server runs all the time"
            )
        if self.problem:
            found.append(f"nothing can be said about right answers: {self.problem}")
        elif self.outcomes:
            found.append(f"{self.reading}; {self.base_rate}" if self.base_rate else self.reading)
        if self.lacking:
            found.append(
                f"{', '.join(self.lacking)} never answers with what is judged: such answers count "
                "as neither right nor wrong"
            )
        if self.metric is not None and self.metric.left_out:
            found.append(
                f"{self.metric.left_out:,} requests with a known outcome are left out: one of the "
                f"two answers has no value of {self.metric.metric.name}"
            )
        if self.metric is not None and self.metric.thinned > 1:
            found.append(f"answers are measured on every {self.metric.thinned}th known outcome")
        return found + self.notes.lines()

    def drop_judgement(self, problem: str) -> None:
        """Forget which answers were right, for a reason why that is not known."""
        self.problem = problem
        self.right = None
        for side in (self.recorded, self.new, self.low, self.high):
            side.right, side.judged = 0.0, 0

    def as_json(self) -> dict[str, Any]:
        """Return all figures."""
        count = max(1, self.recorded.requests)
        return {
            "schedule": self.schedule.label,
            "recorded": self.recorded.as_json(),
            "what_if": self.new.as_json(),
            "low": self.low.bounds_json() if self.refused else None,
            "high": self.high.bounds_json() if self.refused else None,
            "sla_attainment_gain": _gain(self.attained),
            "accuracy_gain": _gain(self.right),
            "metric": None if self.metric is None else self.metric.as_json(),
            "lacking": list(self.lacking),
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
            "sentences": self.sentences(),
            "caveats": self.caveats(),
            "exploration": None if self.exploration is None else self.exploration.as_json(),
            "notes": plain(self.notes),
        }


def _gain(found: Contrast | None) -> Any:
    if found is None or not found.requests:
        return None
    return plain(as_interval(found.difference))


def values_of(joined: Joined, decided: Decided, schedule: Schedule, extract: Extract) -> Floats:
    """Return the value of each new answer, (n,); NaN where it has no such value.

    Combined answers are made from the scores' own lines, one by one; where they cannot be combined,
    `decided` is changed to what the engine does: a fallback, by the best-ranked.
    """
    assert joined.value is not None
    values = np.full(len(joined), extract.of_answer(schedule.default))
    answered = np.flatnonzero(decided.model != NO_MODEL)
    values[answered] = joined.value[decided.model[answered], answered]
    for row in np.flatnonzero(decided.is_combined).tolist():
        combined = _combined(joined, decided, schedule, row)
        if combined is None:
            decided.kind[row] = FALLBACK
            decided.is_combined[row] = False
        else:
            values[row] = extract.of_json(bytes(combined))
    return values


def _combined(joined: Joined, decided: Decided, schedule: Schedule, row: int) -> msgspec.Raw | None:
    step = schedule.steps[int(decided.step[row]) - 1]
    results = []
    for model in winners_by_rank(joined, decided, schedule, row):
        score = joined.score(model, row)
        if score is not None and score.result is not UNSET:
            results.append(score.result)
    if not results:
        return None
    return combine_results(step.combine, results, step.on, step.top)


def winners_by_rank(joined: Joined, decided: Decided, schedule: Schedule, row: int) -> list[int]:
    """Return the models that are combined, the best-ranked first; of equal rank, the earliest."""
    assert decided.winners is not None
    accept = schedule.steps[int(decided.step[row]) - 1].accept

    def rank(model: int) -> tuple[int, int, int]:
        name = joined.models[model]
        place = accept.index(name if name in accept else OTHERS)
        return place, int(joined.arrival_us[model, row]), int(joined.order[model, row])

    return sorted(np.flatnonzero(decided.winners[:, row]).tolist(), key=rank)


def names_of(joined: Joined, decided: Decided, schedule: Schedule) -> list[str | None]:
    """Return the model that answers each request, as in results: "a+b" for combined answers."""
    names: list[str | None] = [*joined.models, None]
    found = [names[number] for number in decided.model.tolist()]
    for row in np.flatnonzero(decided.is_combined).tolist():
        found[row] = "+".join(
            joined.models[model] for model in winners_by_rank(joined, decided, schedule, row)
        )
    return found
