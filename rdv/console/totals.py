"""What has been counted since the beginning of the log, by labels. Pure.

Everything is a whole number, so that the totals do not depend on how the log was split into
readings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import (
    ABSENT,
    KINDS,
    NEVER_US,
    NO_RESULT,
    NOT_SAMPLED,
    OUTCOMES,
    RESULT,
    Joined,
)
from rdv.analysis.dataset.values import Extract
from rdv.console.bounded import BoundedNames, Histograms, Key, SavedHistograms
from rdv.live import ControlRecord, Update
from rdv.rendezvous.messages import Result, result_code
from rdv.rendezvous.schedule import OTHERS, Schedule
from rdv.rendezvous.topology import SCHEDULE_TOPIC

MODELS_MAX, SCHEDULES_MAX, COHORTS_MAX, CODES_MAX = 100, 30, 50, 60
"""How many names of each kind are labels; the others are counted together (`OTHER`)."""

BOUNDS_MAX = 60
"""How many buckets the duration of decisions has at most."""

SLA_BOUNDS = 20
"""How many of them the ends of steps leave to SLAs."""

MISS_US = 10_000
"""An answer that is later than its deadline by more than this is a miss, as for the proxies."""

SECOND_US = 1_000_000
_TIMES_MS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
TIMES_US = tuple(int(ms * 1_000) for ms in _TIMES_MS)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SILENT = "silent"
REPORTS = tuple((outcome or SILENT).replace(" ", "_") for outcome in OUTCOMES)
"""The outcomes of reports as label values, by the codes of `joined`; no report is SILENT."""


STATES = ("answered", "unanswered", "answered_late", "not_recorded")
"""The states of requests as label values."""


class LiveSchedule(msgspec.Struct, frozen=True):
    """A schedule as it was recorded last."""

    name: str
    hash: str
    sla_ms: float
    ends_ms: list[float]
    live: bool
    time_ns: int
    champion: str = ""
    """The model that its first step accepts before all others; empty: none by name."""


class SavedTotals(msgspec.Struct):
    """`Totals` as they are saved."""

    names: dict[str, list[str]]
    counters: dict[str, list[tuple[Key, int]]]
    histograms: dict[str, SavedHistograms]
    schedules: list[LiveSchedule] = []


class Totals:
    """Counters and histograms, each by its labels. For one thread at a time."""

    def __init__(self) -> None:
        self._names = {
            "model": BoundedNames(MODELS_MAX),
            "answer": BoundedNames(MODELS_MAX),  # combinations of models must not use up the names
            "schedule": BoundedNames(SCHEDULES_MAX),
            "cohort": BoundedNames(COHORTS_MAX),
            "code": BoundedNames(CODES_MAX),
        }
        self.decisions: Counter[Key] = Counter()
        """By kind, model, schedule and cohort."""
        self.reasons: Counter[Key] = Counter()
        """Answers that are not the preferred one, by code."""
        self.misses: Counter[Key] = Counter()
        """By schedule: later than the deadline by more than MISS_US."""
        self.late: Counter[Key] = Counter()
        """By schedule: later than the deadline (the SLA, or the client's own limit below it)."""
        self.reports: Counter[Key] = Counter()
        """By model and outcome (REPORTS)."""
        self.too_late: Counter[Key] = Counter()
        """By model: reports on requests that were counted before."""
        self.requests: Counter[Key] = Counter()
        """By state: `answered`, `unanswered` (also those that are `answered_late`, counted again
        then) and `not_recorded` (a proxy's own answers to requests that no model was asked
        about)."""
        self.compared: Counter[Key] = Counter()
        """By model: requests that both it and the champion have answered."""
        self.agreed: Counter[Key] = Counter()
        """By model: those of them where both answers mean the same."""
        self.outcomes: Counter[Key] = Counter()
        """Outcomes that were reported."""
        self.duration = Histograms(TIMES_US)
        """By schedule, in µs."""
        self.arrival = Histograms(TIMES_US)
        """By model, in µs from the start of the request."""
        self.queue = Histograms(TIMES_US)
        self.evaluation = Histograms(TIMES_US)
        """By model, in µs: of the whole batch, once for each request of it."""
        self.batch = Histograms(BATCHES)
        """By model: the number of requests that were evaluated together."""
        self.schedules: dict[str, LiveSchedule] = {}

    _COUNTERS = ("decisions", "reasons", "misses", "late", "reports", "too_late", "requests",
                 "outcomes", "compared", "agreed")  # fmt: skip
    _HISTOGRAMS = ("duration", "arrival", "queue", "evaluation", "batch")

    def add(self, update: Update, declared: Iterable[str], extract: Extract | None = None) -> None:
        """Count what a reading has found; `declared` models are silent where they did not report.

        Models that are not declared any more are counted where they report. `extract` has read the
        values of the answers, if they are known.
        """
        known = set(declared)
        for name in sorted(known):
            self._names["model"].of(name)  # before models that are not declared any more
        for record in update.control:
            self._note_schedule(record)
        for model, count in update.too_late.items():
            self.too_late[(self._names["model"].of(model),)] += count
        for _, result in update.unasked:
            self._add_answer(result, "not_recorded")
        for _, result in update.answered_late:
            schedule = self._add_answer(result, "answered_late")
            self.late[(schedule,)] += 1
            self.misses[(schedule,)] += 1
        if update.outcomes:
            self.outcomes[()] += len(update.outcomes)
        if update.joined is not None:
            self._add_decisions(update.joined)
            self._add_reports(update.joined, known)
            if extract is not None:
                self._add_agreement(update.joined, extract)

    def _add_answer(self, result: Result, state: str) -> str:
        """Count an answer without its request; return the schedule as a label value."""
        model = self._names["answer"].of(result.model)
        schedule = self._names["schedule"].of(schedule_name(result.schedule))
        cohort = self._names["cohort"].of(result.cohort)
        self.decisions[result.kind, model, schedule, cohort] += 1
        if code := result_code(result):
            self.reasons[(self._names["code"].of(code),)] += 1
        self.requests[(state,)] += 1
        waited_us = np.array([round(result.waited_ms * 1000)], np.int64)
        self.duration.add((schedule,), waited_us)
        return schedule

    def _add_decisions(self, joined: Joined) -> None:
        answered = joined.kind != NO_RESULT
        count = int(answered.sum())
        self.requests[("answered",)] += count
        self.requests[("unanswered",)] += len(joined) - count
        if not count:
            return
        names = self._names
        models = [names["answer"].of(name) for name in joined.model.names]
        schedules = [names["schedule"].of(schedule_name(name)) for name in joined.label.names]
        cohorts = [names["cohort"].of(name) for name in joined.cohort.names]
        columns = [
            joined.kind[answered].astype(np.int64),
            joined.model.codes[answered],
            joined.label.codes[answered],
            joined.cohort.codes[answered],
        ]
        for (kind, model, label, cohort), number in _groups(columns):
            key = KINDS[kind] or "", _at(models, model), _at(schedules, label), _at(cohorts, cohort)
            self.decisions[key] += number
        if joined.code is not None:
            for code, number in joined.code.counts().items():
                self.reasons[(names["code"].of(code),)] += number
        self._add_durations(joined, answered, schedules)

    def _add_durations(
        self, joined: Joined, answered: npt.NDArray[np.bool_], schedules: list[str]
    ) -> None:
        waited_us = np.zeros(len(joined), np.int64)
        waited_us[answered] = np.rint(joined.waited_ms[answered] * 1000).astype(np.int64)
        with np.errstate(invalid="ignore"):
            deadline_us = np.rint(joined.deadline_ms * 1000)
            late = answered & (waited_us > deadline_us)
            missed = answered & (waited_us > deadline_us + MISS_US)
        for code in np.unique(joined.label.codes[answered]).tolist():
            rows = answered & (joined.label.codes == code)
            key = (_at(schedules, code),)
            self.duration.add(key, waited_us[rows])
            for counter, found in ((self.late, late), (self.misses, missed)):
                if number := int((found & rows).sum()):
                    counter[key] += number

    def _add_reports(self, joined: Joined, declared: set[str]) -> None:
        figures = joined.figures
        for number, name in enumerate(joined.models):
            outcome = joined.outcome[number]
            counts = np.bincount(outcome, minlength=len(OUTCOMES)).tolist()
            model = self._names["model"].of(name)
            for code, count in enumerate(counts):
                if count and (code != ABSENT or name in declared):
                    self.reports[model, REPORTS[code]] += count
            reported = (outcome != ABSENT) & (outcome != NOT_SAMPLED)
            arrival_us = joined.arrival_us[number]
            there = reported & (arrival_us != NEVER_US)
            if there.any():
                arrived_us = np.maximum(arrival_us[there], 0).astype(np.int64)
                self.arrival.add((model,), arrived_us)
            if figures is not None:
                self._add_figures(model, figures[:, number], outcome == RESULT)
        for name in declared.difference(joined.models):
            self.reports[self._names["model"].of(name), SILENT] += len(joined)

    def _add_agreement(self, joined: Joined, extract: Extract) -> None:
        """Count where models agree with the champion: same class, or same side of the threshold."""
        reading, live = extract.reading, self.live
        if joined.value is None or live is None or live.champion not in joined.models:
            return
        if reading.kind not in ("class", "probability"):
            return
        values = joined.value
        known = ~np.isnan(values)
        if reading.kind == "probability":
            with np.errstate(invalid="ignore"):
                values = (values >= reading.threshold).astype(np.float64)
        champion = joined.models.index(live.champion)
        for number, name in enumerate(joined.models):
            both = known[number] & known[champion]
            if number != champion and both.any():
                key = (self._names["model"].of(name),)
                self.compared[key] += int(both.sum())
                self.agreed[key] += int((values[number] == values[champion])[both].sum())

    def _add_figures(
        self, model: str, figures: npt.NDArray[np.float32], is_result: npt.NDArray[np.bool_]
    ) -> None:
        known = is_result & ~np.isnan(figures[0])
        if not known.any():
            return
        of_results = figures[:, known]
        queue_us, evaluation_us = np.rint(of_results[:2] * 1000).astype(np.int64)
        self.queue.add((model,), np.maximum(queue_us, 0))
        self.evaluation.add((model,), np.maximum(evaluation_us, 0))
        self.batch.add((model,), of_results[2].astype(np.int64))

    def put_in_force(self, schedule: Schedule) -> None:
        """Take the live schedule from a file, as if it were recorded before all others."""
        content = msgspec.to_builtins(schedule)
        fields = {"name": schedule.name, "hash": schedule.content_hash, "schedule": content}
        self._note_schedule(ControlRecord(SCHEDULE_TOPIC, 0, fields))

    def _note_schedule(self, record: ControlRecord) -> None:
        """Take a schedule that went into force; its steps get buckets of their own."""
        if record.topic != SCHEDULE_TOPIC:
            return
        fields = record.fields
        try:
            content = fields["schedule"]
            sla_ms = float(content["sla_ms"])
            ends = [float(step.get("until_ms") or sla_ms) for step in content["step"]]
            found = LiveSchedule(
                str(fields["name"]), str(fields["hash"]), sla_ms,
                [min(end, sla_ms) for end in ends], bool(fields.get("live", True)),
                record.time_ns, _champion(content["step"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError):
            return
        name = self._names["schedule"].of(found.name)
        if name != found.name:
            return
        if found.live:
            for other in [one for one in self.schedules.values() if one.live]:
                self.schedules[other.name] = msgspec.structs.replace(other, live=False)
        self.schedules[name] = found
        for end_ms in dict.fromkeys([found.sla_ms, *found.ends_ms]):
            kept = 0 if end_ms == found.sla_ms else SLA_BOUNDS
            if len(self.duration.bounds) < BOUNDS_MAX - kept:
                self.duration.add_bound(round(end_ms * 1000))

    @property
    def live(self) -> LiveSchedule | None:
        """The schedule that is in force for requests that name none."""
        return next((one for one in self.schedules.values() if one.live), None)

    def saved(self) -> SavedTotals:
        """Return what `load` makes equal totals of."""
        return SavedTotals(
            {kind: list(names.names) for kind, names in self._names.items()},
            {name: list(getattr(self, name).items()) for name in self._COUNTERS},
            {name: getattr(self, name).saved() for name in self._HISTOGRAMS},
            list(self.schedules.values()),
        )

    @classmethod
    def load(cls, saved: SavedTotals) -> Totals:
        found = cls()
        for kind, names in saved.names.items():
            if kind in found._names:
                found._names[kind].names = dict.fromkeys(names)
        for name in cls._COUNTERS:
            getattr(found, name).update(dict(saved.counters.get(name, ())))
        for name in cls._HISTOGRAMS:
            if name in saved.histograms:
                setattr(found, name, Histograms.load(saved.histograms[name]))
        found.schedules = {one.name: one for one in saved.schedules}
        return found


def schedule_name(label: str | None) -> str:
    """Return the name in a label: `production` of `production@1f2e3d4c5b6a`."""
    return (label or "").partition("@")[0]


def _champion(steps: list[dict[str, Any]]) -> str:
    accepted = steps[0].get("accept") if steps else None
    first = str(accepted[0]) if isinstance(accepted, list) and accepted else ""
    return "" if first == OTHERS else first


def _at(names: list[str], code: int) -> str:
    return names[code] if code >= 0 else ""


def _groups(columns: list[npt.NDArray[Any]]) -> Iterable[tuple[list[int], int]]:
    """Yield each combination of values that occurs, and how often it does."""
    lows = [int(column.min()) for column in columns]
    sizes = [int(column.max()) - low + 1 for column, low in zip(columns, lows, strict=True)]
    packed = np.ravel_multi_index(
        [column.astype(np.int64) - low for column, low in zip(columns, lows, strict=True)], sizes
    )
    found, counts = np.unique(packed, return_counts=True)
    values = np.array(np.unravel_index(found, sizes)).T + lows
    yield from zip(values.tolist(), counts.tolist(), strict=True)
