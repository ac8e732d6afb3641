"""Compute what a schedule would have answered to the recorded requests.

The result is exact, since answers and their times are recorded, with these limits, which are
counted and reported: a refusal hides when the answer would have come (see `bounds`); scores that
came after their decision have estimated arrivals; the server is assumed to run all the time, and to
answer at the moment of the decision.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import ABSENT, DEFAULT, NO_RESULT, PROXY, Joined, Names
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import Outcomes, read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.schedules import ScheduleShelf, read_schedules
from rdv.analysis.measure import Measure, choose_measure
from rdv.analysis.whatif.arrivals import Arrivals, arrivals_of, refusals_of
from rdv.analysis.whatif.bounds import extremes
from rdv.analysis.whatif.decide import Decided
from rdv.analysis.whatif.measured import MeasuredSides
from rdv.analysis.whatif.plans import (
    Plans,
    all_names,
    all_values,
    decide_plans,
    decide_rows,
    default_values,
    own_limits_us,
    sla_of,
)
from rdv.analysis.whatif.result import Side, WhatIf
from rdv.decision.outcome import INFERRED, Outcome
from rdv.decision.value import UNDECLARED, Value
from rdv.rendezvous.schedule import OTHERS, Schedule


@dataclass(frozen=True)
class Row:
    """One batch's decisions, for callers that keep them (`-o`)."""

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
    outcome: Outcome = INFERRED,
    on: str | None = None,
    metric: str = "",
    value: Value = UNDECLARED,
    measure: Measure | None = None,
    outcomes: Outcomes | None = None,
    change: Callable[[Joined], Joined] = lambda joined: joined,
    keep: Callable[[Row], None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
) -> WhatIf:
    """Decide the requests with this schedule in the place of the live one.

    Requests and cohorts that ask for another keep it (or get this one, if it has that name).
    `outcome` and `value` are sections of rdv.toml, `metric` is what answers are measured by (by
    default that of [outcome], or the usual one). `keep` gets every batch, `progress` the number of
    done requests. A caller that has a `measure` or `outcomes` already gives them; `change` puts
    other reports into a batch of the record. Raises NothingRecorded, TooManyValues, UnknownMetric,
    InvalidMetric, and the log's SystemFaults.
    """
    with contextlib.ExitStack() as stack:
        if measure is None:
            own = choose_measure(recorded, outcome, on, metric, value)
            measure = stack.enter_context(own)
        join = Join(recorded, since_ns, until_ns, extract=measure.extract)
        shelf = read_schedules(recorded, join.notes)
        plans = Plans(schedule, {**shelf.named(), schedule.name: schedule})
        found = WhatIf(schedule, notes=join.notes)
        known = read_outcomes(recorded, join.notes) if outcomes is None else outcomes
        study = _Study(found, plans, shelf, measure, known)
        for joined in join:
            keep(study.batch(change(joined)))
            progress(len(joined))
        study.finish()
        return found


def what_if_held(
    joined: Joined,
    schedule: Schedule,
    shelf: ScheduleShelf,
    measure: Measure,
    outcomes: Outcomes,
    notes: Notes,
) -> WhatIf:
    """Do what `what_if` does with requests that are in memory, joined with `measure`'s values."""
    plans = Plans(schedule, {**shelf.named(), schedule.name: schedule})
    found = WhatIf(schedule, notes=notes)
    study = _Study(found, plans, shelf, measure, outcomes)
    study.batch(joined)
    study.finish()
    return found


class _Study:
    """Adds one batch after another."""

    def __init__(
        self,
        found: WhatIf,
        plans: Plans,
        shelf: ScheduleShelf,
        measure: Measure,
        outcomes: Outcomes,
    ) -> None:
        self._found, self._plans, self._outcomes = found, plans, outcomes
        self._measure, self._extract = measure, measure.extract
        self._sides = MeasuredSides(measure, outcomes)
        self._sla_of = sla_of(shelf)
        self._ran: set[str] = set()
        found.outcomes = len(outcomes)
        self._accepted = {name for step in plans.live.steps for name in step.accept}

    def batch(self, joined: Joined) -> Row:
        found = self._found
        limits_us = own_limits_us(joined, self._sla_of)
        arrivals = arrivals_of(joined, limits_us)
        decided = decide_plans(self._plans, joined, arrivals)
        values = all_values(joined, decided, self._plans, self._extract)
        names = all_names(joined, decided, self._plans)
        found.other_schedules += int((joined.asked.codes >= 0).sum())
        found.own_answers += int((joined.answered_by == PROXY).sum())
        self._ran.update(
            model
            for model, row in zip(joined.models, joined.outcome, strict=True)
            if (row != ABSENT).any()
        )
        attained = self._add_recorded(joined, limits_us)
        self._sides.add_attained(joined, decided.kind != DEFAULT, attained)
        _add(found.new, decided)
        found.new.models.update(name for name in names if name is not None)
        self._compare(joined, names, values)
        truths = self._sides.add(joined, names, values)
        self._bound(joined, arrivals, decided, values, truths)
        return Row(joined, decided, names, values)

    def finish(self) -> None:
        named = self._accepted - {OTHERS}
        self._found.never_ran = tuple(sorted(named - self._ran))
        self._found.is_number = self._extract.is_number
        self._sides.finish(self._found)

    def _add_recorded(
        self, joined: Joined, limits_us: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Add the recorded decisions; return which models answered within the SLA."""
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
        attained: npt.NDArray[np.bool_] = within & answered
        side.add(joined.kind, joined.step, waited_us, attained)
        side.models.update(joined.model.counts())
        return attained

    def _compare(
        self, joined: Joined, names: list[str | None], values: npt.NDArray[np.float64]
    ) -> None:
        found, given = self._found, joined.given
        assert given is not None
        codes = Names()
        new = codes.coded(names)
        was = joined.model.recoded(codes)
        every = [*codes.names(), "default"]
        differs = (was != new.codes) & (joined.kind != NO_RESULT)
        found.changed_model += int(differs.sum())
        pairs = zip(was[differs].tolist(), new.codes[differs].tolist(), strict=True)
        for (a, b), number in Counter(pairs).items():
            found.changes[every[a], every[b]] += number
        both = ~np.isnan(given) & ~np.isnan(values)
        found.compared += int(both.sum())
        off = np.abs(given[both] - values[both])
        found.changed_answer += int((off > 0).sum())
        if self._extract.is_number and len(off):
            found.change_sum += float(off.sum())
            found.change_max = max(found.change_max, float(off.max()))

    def _accepted_by(self, joined: Joined) -> npt.NDArray[np.bool_]:
        """Return which models each request's schedule accepts, (m, n)."""
        accepted = np.zeros(joined.outcome.shape, bool)
        for schedule, rows, exists in self._plans.groups(joined):
            names = {name for step in schedule.steps for name in step.accept}
            models = [exists and (OTHERS in names or model in names) for model in joined.models]
            accepted[:, rows] = np.array(models, bool)[:, None]
        return accepted

    def _bound(
        self,
        joined: Joined,
        arrivals: Arrivals,
        decided: Decided,
        values: npt.NDArray[np.float64],
        truths: npt.NDArray[np.float64],
    ) -> None:
        found = self._found
        refused = refusals_of(joined) & self._accepted_by(joined)
        found.refused += int(refused.any(axis=0).sum())
        extract, plans = self._extract, self._plans
        defaults = default_values(joined, plans, extract)
        assert joined.value is not None
        by_model = np.concatenate([joined.value, defaults[None]])

        def right_of(rows: npt.NDArray[np.int64], case: Decided) -> npt.NDArray[np.float64]:
            chosen = values if case is decided else by_model[case.model.astype(np.int64), rows]
            return extract.judge(chosen, truths[rows])

        extremes(
            arrivals,
            refused,
            decided,
            lambda rows, changed: decide_rows(plans, joined, rows, changed),
            [schedule for schedule, _, _ in plans.groups(joined)],
            right_of,
        ).add_to(found.low, found.high)


def _add(side: Side, decided: Decided) -> None:
    side.add(decided.kind, decided.step, decided.at_us, decided.kind != DEFAULT)
