"""Decide recorded requests by the edited schedule, and judge what changes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import DEFAULT, KINDS, NO_RESULT, PROXY, Joined, Names
from rdv.analysis.dataset.keys import hashed_keys
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.schedules import ScheduleShelf, read_schedules
from rdv.analysis.measure import Kept, Measure
from rdv.analysis.measure.sides import JUDGED_MAX, JudgedCollector, Unmeasured, share_of
from rdv.analysis.regress.limits import Figures, Limits, judge
from rdv.analysis.regress.result import Changed, Regression
from rdv.analysis.regress.worst import Worst
from rdv.analysis.statistics import Interval
from rdv.analysis.whatif.study import Row, what_if
from rdv.payload import canonical
from rdv.rendezvous.schedule import Finding, Schedule

Bools = npt.NDArray[np.bool_]
SHOWN = 10


def regress(
    recorded: Recorded,
    schedule: Schedule,
    limits: Limits,
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    measure: Measure,
    shown: int = SHOWN,
    findings: Sequence[Finding] = (),
    notes: Sequence[str] = (),
    change: Callable[[Joined], Joined] = lambda joined: joined,
    progress: Callable[[int], None] = lambda _: None,
) -> Regression:
    """Decide recorded requests by this schedule in the place of the live one; judge by the limits.

    `findings` are the linter's, `notes` sentences about the record. `change` puts other reports
    into a batch of the record (a replayed model's), with values that `measure` has read. `progress`
    gets numbers of requests. Raises NothingRecorded, TooManyValues, and the log's SystemFaults.
    """
    reading = Notes()
    shelf = read_schedules(recorded, reading)
    outcomes = read_outcomes(recorded, reading)
    study = _Study(schedule, shelf, measure, shown)
    found = what_if(
        recorded,
        schedule,
        since_ns,
        until_ns,
        measure=measure,
        outcomes=outcomes,
        change=change,
        keep=lambda row: study.add(row, outcomes.of(row.joined, measure.extract)),
        progress=progress,
    )
    judged = study.judged.judged()
    figures = Figures(
        study.requests,
        study.changed,
        study.changed_share(),
        found.new.waits.quantile_ms(0.99),
        found.new.waits.count,
        measure.metric,
        judged.change(1, 0),
        len(judged),
        judged.side(1),
        found.never_ran,
        tuple(findings),
    )
    return Regression(
        found,
        figures,
        limits,
        judge(figures, limits),
        study.worst.found(),
        (judged.side(0), judged.side(1)),
        study.judged.known,
        dict(study.labels.most_common()),
        tuple(notes),
    )


class _Study:
    """Adds one batch after another."""

    def __init__(
        self,
        schedule: Schedule,
        shelf: ScheduleShelf,
        measure: Measure,
        shown: int,
    ) -> None:
        self._schedule, self._shelf, self._extract = schedule, shelf, measure.extract
        self._defaults: dict[tuple[str, str | None], bool] = {}
        self.requests = self.changed = 0
        self.judged = JudgedCollector(measure, 2)
        self.worst = Worst(shown)
        self.labels: Counter[str] = Counter()
        self._changes = Kept(JUDGED_MAX)

    def add(self, row: Row, truths: npt.NDArray[np.float64]) -> None:
        joined, given = row.joined, row.joined.given
        assert given is not None
        counts = (joined.kind != NO_RESULT) & (joined.answered_by != PROXY)
        changed = self._is_changed(row, given) & counts
        keys = hashed_keys(joined)
        self.requests += int(counts.sum())
        self.changed += int(changed.sum())
        self.labels.update(joined.label.counts())
        self._changes.add(changed[counts], keys[counts])
        known = np.where(counts, truths, np.nan)
        self.judged.add(joined, (given, row.values), known)
        self._keep_worst(row, given, truths, changed)

    def changed_share(self) -> Interval | None:
        """Return the share of changed answers, with its interval by key."""
        if not self._changes.count:
            return None
        changed, keys = self._changes.columns()
        found = share_of(changed, keys)
        if isinstance(found, Unmeasured) or found.interval is None:
            return None
        return dataclasses.replace(found.interval, estimate=self.changed / self.requests)

    def _is_changed(self, row: Row, given: npt.NDArray[np.float64]) -> Bools:
        """Return where the answer is another one: by its value, else by who gives it."""
        joined = row.joined
        codes = Names()
        new = codes.coded(row.models)
        other_model = joined.model.recoded(codes) != new.codes
        both = ~np.isnan(given) & ~np.isnan(row.values)
        one = np.isnan(given) != np.isnan(row.values)
        changed: Bools = np.where(both, given != row.values, one | other_model)
        defaults = (joined.kind == DEFAULT) & (row.decided.kind == DEFAULT) & ~changed
        for at in np.flatnonzero(defaults).tolist():
            changed[at] = self._is_other_default(joined.label.at(at), joined.asked.at(at))
        return changed

    def _is_other_default(self, label: str | None, asked: str | None) -> bool:
        """Return whether the default of the schedule with this label has been edited."""
        if label is None or asked is not None:
            return False
        key = label, asked
        if key not in self._defaults:
            was = self._shelf.find(label)
            self._defaults[key] = was is not None and (
                canonical(msgspec.to_builtins(was.default))
                != canonical(msgspec.to_builtins(self._schedule.default))
            )
        return self._defaults[key]

    def _keep_worst(
        self,
        row: Row,
        given: npt.NDArray[np.float64],
        truths: npt.NDArray[np.float64],
        changed: Bools,
    ) -> None:
        extract, joined, decided = self._extract, row.joined, row.decided
        rows = np.flatnonzero(changed)
        if not len(rows):
            return
        was, now = (extract.judge(one, truths)[rows] for one in (given, row.values))
        to_default = (decided.kind[rows] == DEFAULT) & (joined.kind[rows] != DEFAULT)
        level = np.where((was == 1) & (now == 0), 3, np.where(to_default, 2, 1))
        far = np.zeros(len(rows))
        if extract.is_number:
            far = np.nan_to_num(np.abs(row.values[rows] - given[rows]))
        longer_ms = decided.at_us[rows] / 1000 - np.nan_to_num(joined.waited_ms[rows])
        for place in self.worst.candidates(level, far, longer_ms):
            at = int(rows[place])
            rank = (int(level[place]), float(far[place]), float(longer_ms[place]))
            self.worst.add(rank, self._changed(row, given, truths, at))

    def _changed(
        self, row: Row, given: npt.NDArray[np.float64], truths: npt.NDArray[np.float64], at: int
    ) -> Changed:
        joined, name = row.joined, self._extract.name
        known = not np.isnan(truths[at])
        return Changed(
            joined.id(at),
            int(joined.time_ns[at]),
            joined.model.at(at) or "default",
            row.models[at] or "default",
            KINDS[int(joined.kind[at])] or "",
            KINDS[int(row.decided.kind[at])] or "",
            name(float(given[at])),
            name(float(row.values[at])),
            float(joined.waited_ms[at]),
            float(row.decided.at_us[at]) / 1000,
            self._extract.truth_name(float(truths[at])) if known else None,
        )
