"""Try schedules on requests that are held in memory, again and again, within a blink.

The figures are those of `study.what_if` on the same requests (a test compares them), without
intervals and bounds, which take the longest. What does not depend on the schedule is computed once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import DEFAULT, NO_RESULT, NONE, RESULT, Coded, Joined, Names
from rdv.analysis.dataset.outcomes import Outcomes
from rdv.analysis.dataset.schedules import ScheduleShelf
from rdv.analysis.dataset.values import KnownTruths
from rdv.analysis.measure import Measure
from rdv.analysis.metrics import Undefined
from rdv.analysis.statistics import InvalidSample
from rdv.analysis.whatif.arrivals import Arrivals, arrivals_of
from rdv.analysis.whatif.decide import Decided
from rdv.analysis.whatif.plans import (
    Plans,
    all_names,
    all_values,
    decide_plans,
    own_limits_us,
    sla_of,
)
from rdv.analysis.whatif.result import Side
from rdv.rendezvous.schedule import Schedule

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass
class Tried:
    """What a schedule would have answered; rows are those of the held requests."""

    schedule: Schedule
    recorded: Side
    new: Side
    decided: Decided
    names: Coded
    """The model that answers each request; none for the default."""
    changed: npt.NDArray[np.int64]
    """The requests that another model answers."""
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(recorded, new) by the answering model, where that changes."""
    compared: int = 0
    changed_answer: int = 0
    metric: tuple[float, float] | None = None
    """The metric of the recorded answers, and of the new ones, where outcomes are known."""


@dataclass(frozen=True)
class _Judged:
    """What is known of the outcomes, whatever the schedule."""

    rows: npt.NDArray[np.int64]
    truths: Floats
    old_points: Floats
    old_right: Floats
    lacking: frozenset[str]
    """Models that never answer with what is judged."""
    is_judged: bool


class HeldRequests:
    """Joined requests, and everything that is needed to decide them anew. One thread at a time."""

    def __init__(
        self, joined: Joined, shelf: ScheduleShelf, measure: Measure, outcomes: Outcomes
    ) -> None:
        self.joined = joined
        self._shelf, self._measure, self._outcomes = shelf, measure, outcomes
        self._sla_of = sla_of(shelf)

    @cached_property
    def _limits_us(self) -> npt.NDArray[np.int64]:
        return own_limits_us(self.joined, self._sla_of)

    @cached_property
    def _arrivals(self) -> Arrivals:
        return arrivals_of(self.joined, self._limits_us)

    @cached_property
    def _recorded(self) -> Side:
        joined, side = self.joined, Side()
        waited_us = np.rint(np.nan_to_num(joined.waited_ms) * 1000).astype(np.int64)
        slas_us = np.full(len(joined.label.names) + 1, np.inf)
        for code, label in enumerate(joined.label.names):
            rows = np.flatnonzero(joined.label.codes == code)
            sla_ms = self._sla_of(label, joined.asked.at(int(rows[0]))) if len(rows) else None
            if sla_ms is not None:
                slas_us[code] = sla_ms * 1000
        sla_us = slas_us[joined.label.codes]
        within = np.isinf(sla_us) & (joined.label.codes != NONE)
        within |= waited_us <= np.minimum(sla_us, self._limits_us)
        within &= joined.label.codes != NONE
        answered = (joined.kind != NO_RESULT) & (joined.kind != DEFAULT)
        side.add(joined.kind, joined.step, waited_us, within & answered)
        side.models.update(joined.model.counts())
        if (judged := self._judged) is not None and judged.is_judged:
            side.judge(judged.old_right)
        return side

    @cached_property
    def _judged(self) -> _Judged | None:
        """What is known of outcomes; None if there are none."""
        joined, measure = self.joined, self._measure
        extract = measure.extract
        if not len(self._outcomes):
            return None
        truths = self._outcomes.of(joined, extract)
        known = KnownTruths(extract)
        known.add(truths)
        assert joined.given is not None
        assert joined.value is not None
        lacking = {
            name
            for name, outcome, own in zip(joined.models, joined.outcome, joined.value, strict=True)
            if (outcome == RESULT).any() and np.isnan(own).all()
        }
        rows = np.flatnonzero(~np.isnan(truths) & (joined.kind != NO_RESULT))
        kept = self._without(lacking, joined.model)[rows]
        rows = rows[kept]
        return _Judged(
            rows,
            truths,
            measure.points(joined, joined.given, truths)[rows],
            extract.judge(joined.given, truths)[rows],
            frozenset(lacking),
            not known.problem and bool(len(rows)),
        )

    def _without(self, lacking: set[str] | frozenset[str], column: Coded) -> Bools:
        """Return where no such model has a part in the answer."""
        bad = [n for n, name in enumerate(column.names) if lacking & set(name.split("+"))]
        return ~np.isin(column.codes, bad)

    def try_schedule(self, schedule: Schedule) -> Tried:
        """Decide all requests by the schedule. Takes about a µs a request."""
        joined, extract = self.joined, self._measure.extract
        plans = Plans(schedule, {**self._shelf.named(), schedule.name: schedule})
        decided = decide_plans(plans, joined, self._arrivals)
        values = all_values(joined, decided, plans, extract)
        names = self._names(decided, plans)
        new = Side()
        new.add(decided.kind, decided.step, decided.at_us, decided.kind != DEFAULT)
        new.models.update(names.counts())
        tried = Tried(schedule, self._recorded, new, decided, names, np.empty(0, np.int64))
        self._compare(tried, values)
        self._judge(tried, values)
        return tried

    def _names(self, decided: Decided, plans: Plans) -> Coded:
        if decided.is_combined.any():
            return Names().coded(all_names(self.joined, decided, plans))
        return Coded(decided.model.astype(np.int32), self.joined.models)

    def _compare(self, tried: Tried, values: Floats) -> None:
        joined = self.joined
        codes = Names()
        was, now = joined.model.recoded(codes), tried.names.recoded(codes)
        every = [*codes.names(), "default"]
        differs = (was != now) & (joined.kind != NO_RESULT)
        tried.changed = np.flatnonzero(differs)
        pairs = (was[differs].astype(np.int64) + 1) * len(every) + now[differs] + 1
        numbers, counts = np.unique(pairs, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            a, b = divmod(number, len(every))
            tried.changes[every[a - 1], every[b - 1]] = count
        assert joined.given is not None
        both = ~np.isnan(joined.given) & ~np.isnan(values)
        tried.compared = int(both.sum())
        tried.changed_answer = int((joined.given[both] != values[both]).sum())

    def _judge(self, tried: Tried, values: Floats) -> None:
        """Measure the new answers by the outcomes."""
        judged, measure = self._judged, self._measure
        if judged is None or not judged.is_judged:
            return
        kept = self._without(judged.lacking, tried.names)[judged.rows]
        rows, truths = judged.rows[kept], judged.truths[judged.rows[kept]]
        right = measure.extract.judge(values, judged.truths)[rows]
        if not np.isnan(right).all():
            tried.new.judge(right)
        if measure.problem or measure.absent:
            return
        new, old = measure.points(self.joined, values, judged.truths)[rows], judged.old_points[kept]
        if measure.missing == "left out":
            there = ~np.isnan(new) & ~np.isnan(old)
            new, old, truths = new[there], old[there], truths[there]
        found = []
        for points in (old, new):
            try:
                value = measure.metric.of(
                    points, truths, missing=measure.missing, positive=measure.positive
                )
            except InvalidSample:
                return
            if isinstance(value, Undefined):
                return
            found.append(value)
        tried.metric = (found[0], found[1])
