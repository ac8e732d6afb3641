"""What a schedule would have answered to the requests on record.

Exact, since who answered and when is on record, with these limits, which are counted and said:
a refusal hides when the answer would have come (bounded by taking every refusal for an answer at
that moment, and for silence); scores that came after their decision have estimated arrivals; the
server is taken to be there all the time, and to answer at the very moment of the decision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.evaluation.coded import Names
from rdv.evaluation.join import Join
from rdv.evaluation.joined import ABSENT, DEFAULT, NO_RESULT, PROXY, Joined
from rdv.evaluation.notes import Notes
from rdv.evaluation.outcomes import Outcomes, read_outcomes
from rdv.evaluation.places import Recorded
from rdv.evaluation.schedules import ScheduleShelf, read_schedules
from rdv.evaluation.values import Extract, judge
from rdv.evaluation.whatif.answers import names_of, values_of
from rdv.evaluation.whatif.arrivals import (
    Arrivals,
    arrivals_of,
    as_answers,
    as_silence,
    refusals_of,
)
from rdv.evaluation.whatif.decide import Decided, decide_all
from rdv.evaluation.whatif.plans import Plans, own_limits_us, sla_of
from rdv.evaluation.whatif.side import Side
from rdv.schedule import OTHERS, Schedule

UNKNOWN_STEP = 0


@dataclass
class WhatIf:
    """Both sides, what changes, and how sure it is."""

    schedule: Schedule
    recorded: Side = field(default_factory=Side)
    new: Side = field(default_factory=Side)
    best: Side = field(default_factory=Side)
    worst: Side = field(default_factory=Side)
    """Bounds: every refusal taken for an answer at that moment, or for silence."""
    refused: int = 0
    """Requests of which at least one accepted model has refused."""
    changed_model: int = 0
    changed_answer: int = 0
    compared: int = 0
    """Requests whose two answers both have a value."""
    change_sum: float = 0.0
    change_max: float = 0.0
    """Of the absolute differences, when values are numbers."""
    is_number: bool | None = None
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(recorded, new) by who answers, where that changes."""
    own_answers: int = 0
    """Requests that a proxy had to answer by itself."""
    other_schedules: int = 0
    """Requests that had asked for another schedule, and keep it."""
    never_ran: tuple[str, ...] = ()
    """Models that the schedule names, and of which there is no score at all."""
    outcomes: int = 0
    notes: Notes = field(default_factory=Notes)
    sla_was_ms: set[float] = field(default_factory=set)

    @property
    def mean_change(self) -> float | None:
        """Mean absolute difference of the answers' values; None unless they are numbers."""
        return self.change_sum / self.compared if self.is_number and self.compared else None

    def caveats(self) -> list[str]:
        """What keeps the figures from being exact, one sentence each."""
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
        """All figures."""
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


@dataclass(frozen=True)
class Row:
    """One batch's decisions, for who keeps them (`-o`)."""

    joined: Joined
    decided: Decided
    models: list[str | None]
    values: npt.NDArray[np.float64]


def what_if(
    recorded: Recorded,
    schedule: Schedule,
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    on: str | None = None,
    keep: Callable[[Row], None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
) -> WhatIf:
    """Put the schedule in the place of the live one. Requests and cohorts that ask for another
    keep it (or get this one, when it has that name). `keep` gets every batch, `progress` the
    number of done requests.

    Raises NothingRecorded, TooManyValues, and the log's SystemFaults.
    """
    extract = Extract(on)
    join = Join(recorded, since_ns, until_ns, extract=extract)
    shelf = read_schedules(recorded, join.notes)
    plans = Plans(schedule, {**shelf.named(), schedule.name: schedule})
    found = WhatIf(schedule, notes=join.notes)
    study = _Study(found, plans, shelf, extract, read_outcomes(recorded, join.notes))
    for joined in join:
        keep(study.batch(joined))
        progress(len(joined))
    study.finish()
    return found


class _Study:
    """Adds batch after batch."""

    def __init__(
        self,
        found: WhatIf,
        plans: Plans,
        shelf: ScheduleShelf,
        extract: Extract,
        outcomes: Outcomes,
    ) -> None:
        self._found, self._plans, self._extract, self._outcomes = found, plans, extract, outcomes
        self._sla_of = sla_of(shelf)
        self._ran: set[str] = set()
        found.outcomes = len(outcomes)
        accepted = [name for step in plans.live.steps for name in step.accept]
        self._accepts_all = OTHERS in accepted
        self._accepted = set(accepted)

    def batch(self, joined: Joined) -> Row:
        found = self._found
        limits_us = own_limits_us(joined, self._sla_of)
        arrivals = arrivals_of(joined, limits_us)
        decided, values = self._decide(joined, arrivals)
        names = _all_names(joined, decided, self._plans)
        found.other_schedules += int((joined.asked.codes >= 0).sum())
        found.own_answers += int((joined.answered_by == PROXY).sum())
        self._ran.update(
            model
            for model, row in zip(joined.models, joined.outcome, strict=True)
            if (row != ABSENT).any()
        )
        self._add_recorded(joined, limits_us)
        _add(found.new, decided)
        found.new.models.update(name for name in names if name is not None)
        self._compare(joined, names, values)
        self._judge(joined, values)
        self._bound(joined, arrivals)
        return Row(joined, decided, names, values)

    def finish(self) -> None:
        named = self._accepted - {OTHERS}
        self._found.never_ran = tuple(sorted(named - self._ran))
        self._found.is_number = self._extract.is_number

    def _decide(
        self, joined: Joined, arrivals: Arrivals
    ) -> tuple[Decided, npt.NDArray[np.float64]]:
        decided = decide_plans(self._plans, joined, arrivals)
        values = np.full(len(joined), np.nan)
        for schedule, rows, exists in self._plans.groups(joined):
            if len(rows) == len(joined):
                return decided, values_of(joined, decided, schedule, self._extract)
            if len(rows):
                part = _part(decided, rows)
                if not exists:
                    part.model[:] = -1
                values[rows] = values_of(joined.take(rows), part, schedule, self._extract)
                decided.kind[rows], decided.is_combined[rows] = part.kind, part.is_combined
        return decided, values

    def _add_recorded(self, joined: Joined, limits_us: npt.NDArray[np.int64]) -> None:
        side = self._found.recorded
        waited_us = np.rint(np.nan_to_num(joined.waited_ms) * 1000).astype(np.int64)
        within = np.zeros(len(joined), bool)
        for code, label in enumerate(joined.label.names):
            rows = np.flatnonzero(joined.label.codes == code)
            sla_ms = self._sla_of(label, joined.asked.at(int(rows[0]))) if len(rows) else None
            if sla_ms is None:
                within[rows] = True
                continue
            self._found.sla_was_ms.add(sla_ms)
            within[rows] = waited_us[rows] <= np.minimum(sla_ms * 1000, limits_us[rows])
        answered = (joined.kind != NO_RESULT) & (joined.kind != DEFAULT)
        side.add(joined.kind, joined.step, waited_us, within & answered)
        side.models.update(joined.model.counts())

    def _compare(
        self, joined: Joined, names: list[str | None], values: npt.NDArray[np.float64]
    ) -> None:
        found, told = self._found, joined.told
        assert told is not None
        codes = Names()
        new = codes.coded(names)
        was = joined.model.recoded(codes)
        every = [*codes.names(), "default"]
        differs = (was != new.codes) & (joined.kind != NO_RESULT)
        found.changed_model += int(differs.sum())
        pairs = zip(was[differs].tolist(), new.codes[differs].tolist(), strict=True)
        for (a, b), number in Counter(pairs).items():
            found.changes[every[a], every[b]] += number
        both = ~np.isnan(told) & ~np.isnan(values)
        found.compared += int(both.sum())
        off = np.abs(told[both] - values[both])
        found.changed_answer += int((off > 0).sum())
        if self._extract.is_number and len(off):
            found.change_sum += float(off.sum())
            found.change_max = max(found.change_max, float(off.max()))

    def _judge(self, joined: Joined, values: npt.NDArray[np.float64]) -> None:
        if not len(self._outcomes):
            return
        truths = self._outcomes.of(joined, self._extract)
        is_number = bool(self._extract.is_number)
        assert joined.told is not None
        self._found.recorded.judge(judge(joined.told, truths, is_number=is_number))
        self._found.new.judge(judge(values, truths, is_number=is_number))

    def _bound(self, joined: Joined, arrivals: Arrivals) -> None:
        found = self._found
        refused = refusals_of(joined)
        if not self._accepts_all:
            refused &= np.array([m in self._accepted for m in joined.models])[:, None]
        found.refused += int(refused.any(axis=0).sum())
        for side, bound in ((found.best, as_answers), (found.worst, as_silence)):
            _add(side, decide_plans(self._plans, joined, bound(arrivals, refused)))


def decide_plans(plans: Plans, joined: Joined, arrivals: Arrivals) -> Decided:
    """Every request by the schedule that it gets."""
    whole: Decided | None = None
    for schedule, rows, exists in plans.groups(joined):
        if len(rows) == len(joined) and exists:
            return decide_all(schedule, arrivals)
        if not len(rows):
            continue
        part_arrivals = arrivals.take(rows)
        if not exists:
            part_arrivals = replace(part_arrivals, wait_us=np.zeros(len(rows), np.int64))
        part = decide_all(schedule, part_arrivals)
        if whole is None:
            whole = _empty(len(arrivals.models), len(joined))
        _put(whole, part, rows)
    assert whole is not None
    return whole


def _empty(models: int, count: int) -> Decided:
    return Decided(
        np.zeros(count, np.uint8),
        np.full(count, -1, np.int16),
        np.zeros(count, np.uint8),
        np.zeros(count, np.int64),
        np.zeros(count, bool),
        np.zeros((models, count), bool),
    )


def _put(whole: Decided, part: Decided, rows: npt.NDArray[np.int64]) -> None:
    whole.kind[rows], whole.model[rows] = part.kind, part.model
    whole.step[rows], whole.at_us[rows] = part.step, part.at_us
    whole.is_combined[rows] = part.is_combined
    if part.winners is not None and whole.winners is not None:
        whole.winners[:, rows] = part.winners


def _part(whole: Decided, rows: npt.NDArray[np.int64]) -> Decided:
    return Decided(
        whole.kind[rows],
        whole.model[rows],
        whole.step[rows],
        whole.at_us[rows],
        whole.is_combined[rows],
        None if whole.winners is None else whole.winners[:, rows],
    )


def _all_names(joined: Joined, decided: Decided, plans: Plans) -> list[str | None]:
    names: list[str | None] = [None] * len(joined)
    for schedule, rows, _ in plans.groups(joined):
        if len(rows) == len(joined):
            return names_of(joined, decided, schedule)
        if len(rows):
            found = names_of(joined.take(rows), _part(decided, rows), schedule)
            for row, name in zip(rows.tolist(), found, strict=True):
                names[row] = name
    return names


def _add(side: Side, decided: Decided) -> None:
    side.add(decided.kind, decided.step, decided.at_us, decided.kind != DEFAULT)
