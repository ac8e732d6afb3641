"""Evaluate an experiment in one pass over the join.

The plan states how the keys were to be split, and which schedule each cohort gets;
`control:cohorts` records since when that has been in force.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from rdv.analysis.ab.looks import (
    Level,
    Side,
    difference_of_cohorts,
    difference_of_pairs,
    effect_of,
    value_of,
)
from rdv.analysis.ab.metric import Floats, Metric, Sums, arm_of, choose_metric
from rdv.analysis.ab.result import ArmFigures, Comparison, Experiment
from rdv.analysis.ab.versions import Rows, Versions, read_versions
from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import KINDS, NONE, NOT_SAMPLED, Joined, count_codes
from rdv.analysis.dataset.keys import Keys, hashed_keys
from rdv.analysis.dataset.outcomes import read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.values import KnownTruths
from rdv.analysis.errors import NoExperiment, NoMetric
from rdv.analysis.metrics import Cohort, Undefined, cohort_sequence, metric_named, sequence
from rdv.analysis.metrics.estimate import Found
from rdv.analysis.statistics import (
    Arm,
    Digest,
    Effect,
    Interval,
    effect,
    effect_of_pairs,
    sample_ratio,
)
from rdv.analysis.statistics.ab.effect import with_sequence
from rdv.analysis.whatif.arrivals import arrivals_of
from rdv.analysis.whatif.decide import decide_all
from rdv.decision.outcome import INFERRED, Outcome
from rdv.decision.value import UNDECLARED, Value
from rdv.errors import RdvError
from rdv.rendezvous.schedule import OTHERS, Schedule
from rdv.rendezvous.topology import COHORTS_TOPIC, CONTROL
from rdv.stream import pass_over

REST = "rest"
"""The name of the arm for requests in no cohort, which get the live schedule."""

_ROUNDING = 1e-9
ARMS_MIN = 2
REQUESTS, MEASURED, METRIC, KNOWN, TRUTH = range(5)
"""Columns of a cohort's sums: requests, those with a value, their sum; the same of outcomes."""


@dataclass(frozen=True)
class Plan:
    """`shares` of the cohorts, and the schedules of all arms, with the live one under `REST`.

    They count for pairs only where no version is recorded; one may be missing if its file is.
    """

    shares: Mapping[str, float]
    schedules: Mapping[str, Schedule]
    salt: str = ""

    @property
    def arms(self) -> dict[str, float]:
        """Every arm and its share, the control first: the rest, or else the first cohort."""
        rest = 1 - sum(self.shares.values())
        arms = {REST: rest} if rest > _ROUNDING else {}
        return arms | {name: share for name, share in self.shares.items() if share > 0}


def in_force_since_ns(recorded: Recorded, plan: Plan) -> int | None:
    """Return when the cohorts became what they are in `plan`: shares, salt and schedules.

    Returns None if that is not recorded: they were never served like this, or by an older rdv.
    Raises the log's SystemFaults.
    """
    control = recorded.stream(CONTROL)
    if control is None or COHORTS_TOPIC not in control.topics():
        return None
    since_ns: int | None = None
    with control.consumer([COHORTS_TOPIC]) as consumer:
        while True:
            try:
                records = consumer.poll(1_000)
            except RdvError as error:
                if not pass_over(consumer, error):
                    raise
                continue
            if not records:
                return since_ns or None
            for record in records:
                try:
                    line = orjson.loads(record.value)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(line, dict) and isinstance(line.get("since_ns"), int):
                    since_ns = line["since_ns"] if _is_so(line, plan) else None


def _is_so(line: dict[str, Any], plan: Plan) -> bool:
    cohorts = line.get("cohorts")
    if not isinstance(cohorts, dict) or line.get("salt") != plan.salt:
        return False
    shares = {name: c.get("share") for name, c in cohorts.items() if not c.get("explore")}
    if shares != dict(plan.shares):
        return False
    return all(
        cohorts[name].get("schedule") == plan.schedules[name].label
        for name in plan.shares
        if name in plan.schedules
    )


def run_experiment(
    recorded: Recorded,
    plan: Plan,
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    metric: str = "",
    outcome: Outcome = INFERRED,
    value: Value = UNDECLARED,
    on: str | None = None,
    confidence: float = 0.95,
    looks: int = 10,
    depends: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Experiment:
    """Evaluate the cohorts of `plan`.

    Only the time in which these cohorts were in force counts, as far as that is recorded.
    Pairs are decided by the schedules that were in force at the time of each request (`Versions`).
    `metric` is one of `Metric`'s; empty: that of [outcome], or right. `depends`: outcomes depend on
    the answer given (a click on what was shown), as `caused_by_answer` of [outcome] declares, so
    nothing is paired. Of a metric that is no mean, the intervals hold for `looks` looks. Raises
    NoExperiment, NoMetric, InvalidMetric, TooManyKeys, NothingRecorded, TooManyValues, and the
    log's SystemFaults.
    """
    if len(plan.arms) < ARMS_MIN:
        raise NoExperiment(recorded.directory)
    depends = depends or outcome.caused_by_answer
    outcome = outcome.of_given_answers()
    begun_ns = in_force_since_ns(recorded, plan)
    since_ns = max(filter(None, (since_ns, begun_ns)), default=None)
    name, extract, measure = choose_metric(recorded, metric, outcome, on, value)
    join = Join(recorded, since_ns, until_ns, extract=extract)
    chosen = Metric(name, extract, read_outcomes(recorded, join.notes), measure)
    with measure or contextlib.nullcontext():
        versions = read_versions(recorded, REST, plan.schedules, join.notes)
        study = _Study(plan, chosen, versions, depends=depends or not chosen.is_of_answers)
        for joined in join:
            study.add(joined)
            progress(len(joined))
        found = study.finish(join, Level(confidence, looks))
    reading = chosen.reading
    return replace(found, since_ns=since_ns, in_force_ns=begun_ns, reading=reading)


@dataclass
class _Cohort:
    """The sums of one arm, added batch by batch."""

    sums: Sums = field(default_factory=lambda: Sums(5))
    kinds: Counter[str] = field(default_factory=Counter)
    waited_ms: Digest = field(default_factory=Digest)
    rows: Side = field(default_factory=Side)
    """The requests themselves, for a metric that is no mean."""


class _Study:
    def __init__(self, plan: Plan, metric: Metric, versions: Versions, *, depends: bool) -> None:
        self._plan, self._metric, self._depends = plan, metric, depends
        self._versions = versions
        self._arms = {name: _Cohort() for name in plan.arms}
        self._control = next(iter(plan.arms))
        self._paired = {
            name: Sums(4) for name in self._arms if not depends and name != self._control
        }
        self._pairs = {} if metric.is_mean else {name: Side() for name in self._paired}
        """The pairs themselves, for a metric that is no mean."""
        self._common: float | None = None
        self._left_out = 0
        self._unpaired = 0
        self._versionless = 0
        self._truths = KnownTruths(metric.extract)

    def add(self, joined: Joined) -> None:
        truths = self._metric.truths(joined)
        if self._metric.is_judged:
            self._truths.add(truths)
        values = self._metric.of_answers(joined, truths)
        keys = hashed_keys(joined)
        has_key = joined.key.is_valid().to_numpy(zero_copy_only=False)
        rows_of = self._rows_of(joined, has_key)
        self._left_out += len(joined) - sum(len(rows) for rows in rows_of.values())
        columns = np.stack(
            [
                np.ones(len(joined)),
                ~np.isnan(values),
                np.nan_to_num(values),
                ~np.isnan(truths),
                self._indicator(truths),
            ]
        ).astype(np.float64)
        for name, rows in rows_of.items():
            arm = self._arms[name]
            arm.sums.add(keys[rows], columns[:, rows])
            waited = joined.waited_ms[rows]
            arm.waited_ms.add(waited[np.isfinite(waited)])
            arm.kinds.update(count_codes(joined.kind[rows], KINDS))
        if not self._metric.is_mean:
            self._keep(joined, values, truths, keys, rows_of)
        if self._paired:
            self._pair(joined, truths, keys, rows_of)

    def _keep(
        self,
        joined: Joined,
        values: Floats,
        truths: Floats,
        keys: Keys,
        rows_of: Mapping[str, Rows],
    ) -> None:
        """Keep the requests that count, for a metric that is no mean."""
        assert joined.given is not None
        points = self._metric.points(joined, joined.given, truths)
        for name, all_rows in rows_of.items():
            rows = all_rows[~np.isnan(values[all_rows])]
            self._arms[name].rows.add(keys[rows], truths[rows], points[rows])

    def _rows_of(self, joined: Joined, has_key: npt.NDArray[np.bool_]) -> dict[str, Rows]:
        """Return the rows of each arm; none of requests without a key or with an own schedule."""
        found = {}
        names = {name: code for code, name in enumerate(joined.cohort.names)}
        for name in self._arms:
            if name == REST and REST not in self._plan.shares:
                here = (joined.cohort.codes == NONE) & (joined.asked.codes == NONE) & has_key
            else:
                here = joined.cohort.codes == names.get(name, NONE - 1)
            found[name] = np.flatnonzero(here)
        return found

    def _indicator(self, truths: Floats) -> Floats:
        """Return 1 for a yes; of classes, 1 for the one that was the most common at first."""
        known = truths[~np.isnan(truths)]
        if self._common is None and len(known):
            values, counts = np.unique(known, return_counts=True)
            is_yes_no = set(values.tolist()) <= {0.0, 1.0} and bool(self._metric.extract.is_number)
            self._common = 1.0 if is_yes_no else float(values[np.argmax(counts)])
        return np.asarray(truths == self._common, np.float64)

    def _pair(
        self, joined: Joined, truths: Floats, keys: Keys, rows_of: Mapping[str, Rows]
    ) -> None:
        """Decide every request by both schedules of its time, whatever cohort it was in."""
        usual = (joined.asked.codes == NONE) | (joined.cohort.codes != NONE)
        arrivals = arrivals_of(joined)
        was: dict[str, Floats] = {}
        points = {name: np.full(len(joined), np.nan) for name in (self._control, *self._pairs)}
        asked: dict[str, npt.NDArray[np.bool_]] = {}
        found: dict[str, npt.NDArray[np.bool_]] = {}
        for name in (self._control, *self._paired):
            was[name], asked[name] = np.full(len(joined), np.nan), np.zeros(len(joined), bool)
            found[name] = np.zeros(len(joined), bool)
            for schedule, rows in self._versions.groups(name, joined, rows_of[name]):
                whole = len(rows) == len(joined)
                part = joined if whole else joined.take(rows)
                decided = decide_all(schedule, arrivals if whole else arrivals.take(rows))
                was[name][rows] = self._metric.decided(part, decided, schedule, truths[rows])
                if not self._metric.is_mean:
                    points[name][rows] = self._metric.decided_points(
                        part, decided, schedule, truths[rows]
                    )
                asked[name][rows], found[name][rows] = self._all_asked(part, schedule), True
        self._versionless += int((usual & ~np.all(list(found.values()), axis=0)).sum())
        for name, sums in self._paired.items():
            known = usual & ~np.isnan(was[self._control]) & ~np.isnan(was[name])
            are_asked = asked[self._control] & asked[name]
            self._unpaired += int((known & ~are_asked).sum())
            rows = np.flatnonzero(known & are_asked)
            a, b = was[self._control][rows], was[name][rows]
            sums.add(keys[rows], np.stack([np.ones(len(rows)), a, b, a != b]))
            if (pairs := self._pairs.get(name)) is not None:
                both = points[name][rows], points[self._control][rows]
                pairs.add(keys[rows], truths[rows], *both)

    @staticmethod
    def _all_asked(joined: Joined, schedule: Schedule) -> npt.NDArray[np.bool_]:
        """Return which requests were to be scored by every model that the schedule accepts."""
        accepted = {name for step in schedule.steps for name in step.accept}
        rows = [n for n, m in enumerate(joined.models) if m in accepted or OTHERS in accepted]
        return np.asarray((joined.outcome[rows] != NOT_SAMPLED).all(axis=0))

    def finish(self, join: Join, level: Level) -> Experiment:
        plan = self._plan.arms
        problem = self._metric.problem(self._truths)
        if problem:
            raise NoMetric(self._metric.name, problem)
        values = {} if self._metric.is_mean else self._values(level.of_each)
        figures = [
            self._figures(name, share, level, values.get(name)) for name, share in plan.items()
        ]
        if all(one.mean is None for one in figures):
            reasons = [one.reason for one in values.values() if isinstance(one, Undefined)]
            raise NoMetric(self._metric.name, reasons[0] if reasons else "")
        once = {} if self._metric.is_mean else self._values(level.confidence)
        counts = [one.keys for one in figures]
        return Experiment(
            metric=self._metric.name,
            is_share=self._metric.is_percent,
            arms=figures,
            ratio=sample_ratio(counts, list(plan.values())),
            comparisons=[
                self._comparison(name, level, values, once)
                for name in plan
                if name != self._control
            ],
            moved_keys=self._moved_keys(),
            left_out=self._left_out,
            unpaired=self._unpaired,
            depends=self._depends,
            is_judged=self._metric.is_judged,
            notes=join.notes,
            versions={name: dict(used) for name, used in self._versions.used.items()},
            versionless=self._versionless,
            not_recorded=tuple(sorted(self._versions.not_recorded)),
            looks=None if self._metric.is_mean else level.count,
        )

    def _values(self, confidence: float) -> dict[str, Found]:
        """Return the metric of each arm, for one look; for a metric that is no mean."""
        measure = self._metric.measure
        assert measure is not None
        return {name: value_of(measure, arm.rows, confidence) for name, arm in self._arms.items()}

    def _figures(self, name: str, share: float, level: Level, value: Found | None) -> ArmFigures:
        arm = self._arms[name]
        totals = arm.sums.values.sum(axis=1)
        measured = totals[MEASURED]
        mean = float(totals[METRIC] / measured) if measured else None
        if value is not None:
            mean = None if isinstance(value, Undefined) else value.estimate
        interval = None if value is None else level.together(value)
        waits: tuple[float | None, float | None] = (None, None)
        if arm.waited_ms.count:
            p50, p99 = arm.waited_ms.quantiles([0.5, 0.99])
            waits = float(p50), float(p99)
        return ArmFigures(
            name,
            share,
            len(arm.sums),
            int(totals[REQUESTS]),
            int(measured),
            mean,
            int(totals[KNOWN]),
            dict(arm.kinds),
            *waits,
            interval=interval if isinstance(interval, Interval) else None,
        )

    def _moved_keys(self) -> int:
        """Return the number of keys that were in more than one arm, because the split changed."""
        every = np.concatenate([arm.sums.keys for arm in self._arms.values()])
        return len(every) - len(np.unique(every))

    def _arm(self, name: str, totals: int, requests: int, *, is_binary: bool) -> Arm | None:
        values = self._arms[name].sums.values
        return arm_of(name, values[totals], values[requests], is_binary=is_binary)

    def _effect(
        self, name: str, totals: int, requests: int, confidence: float, *, is_binary: bool
    ) -> Effect | None:
        control = self._arm(self._control, totals, requests, is_binary=is_binary)
        treatment = self._arm(name, totals, requests, is_binary=is_binary)
        if control is None or treatment is None:
            return None
        return effect(control, treatment, confidence)

    def _metric_effect(self, name: str, confidence: float) -> Effect | None:
        """Return the effect on the metric, by a sequence that holds for skewed values as well."""
        found = self._effect(name, METRIC, MEASURED, confidence, is_binary=self._metric.is_share)
        if found is None:
            return None
        first, second = (
            Cohort.of(values[METRIC], values[MEASURED])
            for values in (self._arms[one].sums.values for one in (name, self._control))
        )
        looked = cohort_sequence(self._metric.name, first, second, confidence)
        return with_sequence(found, _or_reason(looked), units=sum(found.units))

    def _comparison(
        self,
        name: str,
        level: Level,
        values: Mapping[str, Found],
        once: Mapping[str, Found],
    ) -> Comparison:
        needs = self._metric.needs_truth
        if self._metric.is_mean:
            effects = (
                self._metric_effect(name, level.confidence),
                self._paired_effect(name, level.confidence),
            )
        else:
            effects = (
                self._effect_in_looks(name, level, values, once),
                self._paired_in_looks(name, level),
            )
        return Comparison(
            self._control,
            name,
            *effects,
            self._effect(name, TRUTH, KNOWN, 0.999, is_binary=True) if needs else None,
            self._effect(name, KNOWN, REQUESTS, 0.999, is_binary=False) if needs else None,
        )

    def _effect_in_looks(
        self, name: str, level: Level, values: Mapping[str, Found], once: Mapping[str, Found]
    ) -> Effect:
        both = name, self._control
        each, alone = (
            difference_of_cohorts(both, found[name], found[self._control])
            for found in (values, once)
        )
        units = self._arms[self._control].rows.keys, self._arms[name].rows.keys
        return effect_of((self._control, name), units, level, each, alone)

    def _paired_in_looks(self, name: str, level: Level) -> Effect | None:
        side, measure = self._pairs.get(name), self._metric.measure
        if side is None or measure is None or not side.columns():
            return None
        each, alone = (
            difference_of_pairs(measure, side, one) for one in (level.of_each, level.confidence)
        )
        names, units = (self._control, name), (side.keys, side.keys)
        return effect_of(names, units, level, each, alone)

    def _paired_effect(self, name: str, confidence: float) -> Effect | None:
        sums = self._paired.get(name)
        if sums is None or not len(sums):
            return None
        requests, a, b, differing = sums.values
        share = self._metric.is_share
        pairs = arm_of("difference", b - a, requests, is_binary=False)
        control = arm_of(self._control, a, requests, is_binary=share)
        treatment = arm_of(name, b, requests, is_binary=share)
        if pairs is None or control is None or treatment is None:
            return None
        found = effect_of_pairs(
            pairs,
            (control, treatment),
            differing=int((differing > 0).sum()),
            confidence=confidence,
        )
        value = metric_named("value")
        first, second = b / requests, a / requests
        looked = sequence(value, first, second, None, sums.keys, confidence, weights=requests)
        return with_sequence(found, _or_reason(looked), units=pairs.count)


def _or_reason(found: Found) -> Interval | str:
    """Return the interval, or why there is none."""
    return found if isinstance(found, Interval) else found.reason
