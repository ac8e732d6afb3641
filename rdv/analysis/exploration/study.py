"""Estimate how good answers would be, where the answer given decides whether the truth is seen.

A declined loan is never repaid: the outcomes of declined requests are missing, and those that are
known are not a fair sample. Where a cohort explores, the probability that an outcome is seen is
known for each randomised request: that of each schedule that it may have got, times the share of
known outcomes among the answers that this schedule gives. Each known outcome counts by the inverse
of that (inverse propensity), and an expectation by answer takes away some of the variance (doubly
robust). The probabilities are right if, among requests with the same answer, it does not depend on
the outcome whether it is known.

All that holds for a truth that the answer only hides. Where the answer causes the outcome, as
`caused_by_answer` of [outcome] declares, the estimates are those of `caused`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import NONE, RESULT, Joined
from rdv.analysis.dataset.keys import hashed_keys
from rdv.analysis.dataset.outcomes import read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.schedules import ScheduleShelf, read_schedules
from rdv.analysis.dataset.values import KnownTruths
from rdv.analysis.exploration.caused import Drawn, caused_estimates, same_answers
from rdv.analysis.exploration.draws import Draws, read_draws
from rdv.analysis.exploration.result import Coverage, Explored, Policy
from rdv.analysis.measure import Kept, Measure, choose_measure
from rdv.analysis.metrics import TooFew, Undefined, difference, estimate, metric_named
from rdv.analysis.statistics import Interval, InvalidSample
from rdv.analysis.statistics.off_policy import doubly_robust, effective_number, expected_by_group
from rdv.analysis.whatif.arrivals import arrivals_of
from rdv.analysis.whatif.plans import Plans, all_values, decide_plans, own_limits_us, sla_of
from rdv.decision.outcome import INFERRED, Outcome
from rdv.decision.value import UNDECLARED, Value
from rdv.rendezvous.schedule import Schedule

Floats = npt.NDArray[np.float64]
Found = Interval | TooFew | Undefined
ROWS_MAX = 500_000
"""The maximum number of randomised requests that are kept; more are thinned out evenly."""
CLASSES_MAX = 20
"""The maximum number of different answers for which label coverage is counted separately."""
NO_ANSWER = -np.inf
NO_MEAN = (
    "{name} is no mean over requests, and only a mean, such as accuracy or value, can be had of "
    "outcomes that the answer causes"
)


def of_model(name: str) -> PolicyOf:
    """Return the policy that always gives one model's answer."""

    def values(joined: Joined, _: Shelf) -> Floats:
        assert joined.value is not None
        if name not in joined.models:
            return np.full(len(joined), np.nan)
        row = joined.models.index(name)
        return np.where(joined.outcome[row] == RESULT, joined.value[row], np.nan)

    return values


def of_schedule(schedule: Schedule) -> PolicyOf:
    """Return the policy by which every request gets this schedule."""
    return lambda joined, shelf: shelf.values(joined, schedule)


class Shelf:
    """Decides by any of the decision's schedules."""

    def __init__(self, schedules: ScheduleShelf, measure: Measure) -> None:
        self.schedules, self._measure = schedules, measure
        self._named = schedules.named()
        self._sla = sla_of(schedules)
        self._times_ns = np.array([one.time_ns for one in schedules.versions], np.int64)

    def values(self, joined: Joined, schedule: Schedule) -> Floats:
        """Return the values of the answers if all requests got this schedule."""
        asked = replace(joined.asked, codes=np.full(len(joined), NONE, np.int32))
        joined = replace(joined, asked=asked)
        plans = Plans(schedule, {**self._named, schedule.name: schedule})
        decided = decide_plans(plans, joined, arrivals_of(joined, own_limits_us(joined, self._sla)))
        return all_values(joined, decided, plans, self._measure.extract)

    def named(self, name: str) -> Schedule | None:
        return self._named.get(name)

    def live_at(self, times_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the number of the live schedule's version at these times."""
        if not len(self._times_ns):
            return np.full(len(times_ns), -1)
        return np.maximum(0, np.searchsorted(self._times_ns, times_ns, "right") - 1)

    def live(self, version: int) -> Schedule | None:
        if version < 0:
            return None
        return self.schedules.by_label.get(self.schedules.versions[version].label)


PolicyOf = Callable[[Joined, Shelf], Floats]


def explored(
    recorded: Recorded,
    policies: tuple[tuple[str, PolicyOf], tuple[str, PolicyOf]],
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    outcome: Outcome = INFERRED,
    metric: str = "",
    value: Value = UNDECLARED,
    on: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Explored | None:
    """Return the label coverage by answer, and estimates of two policies by randomised requests.

    None if no outcome is recorded. Raises NothingRecorded, TooManyValues, UnknownMetric,
    InvalidMetric, and the log's SystemFaults.
    """
    is_caused, outcome = outcome.caused_by_answer, outcome.of_given_answers()
    with choose_measure(recorded, outcome, on, metric, value) as measure:
        join = Join(recorded, since_ns, until_ns, extract=measure.extract)
        outcomes = read_outcomes(recorded, join.notes)
        if not len(outcomes) and not measure.reading.mature_after_ms:
            return None
        shelf = Shelf(read_schedules(recorded, join.notes), measure)
        study = _Study(measure, shelf, read_draws(recorded, join.notes), policies)
        if is_caused:
            study.same = same_answers(measure.extract, on or outcome.answer)
        for joined in join:
            study.add(joined, outcomes.of(joined, measure.extract))
            progress(len(joined))
        return study.finish()


class _Study:
    """Adds one batch after another."""

    def __init__(
        self,
        measure: Measure,
        shelf: Shelf,
        draws: Draws,
        policies: tuple[tuple[str, PolicyOf], tuple[str, PolicyOf]],
    ) -> None:
        self._measure, self._shelf, self._draws = measure, shelf, draws
        self._policies = policies
        self._kept = Kept(ROWS_MAX)
        self._totals: Counter[float] = Counter()
        self._known: Counter[float] = Counter()
        self._is_number = measure.reading.kind == "number"
        self._truths = KnownTruths(measure.extract)
        self.same: Callable[[Floats], Floats] | None = None
        """What tells answers apart, if they cause the outcomes; None if they do not."""
        self.requests = self.randomised = 0

    def add(self, joined: Joined, truths: Floats) -> None:
        given = joined.given
        assert given is not None
        self.requests += len(joined)
        answers = self._classes(given)
        known = ~np.isnan(truths)
        self._totals.update(answers.tolist())
        self._known.update(answers[known].tolist())
        self._truths.add(truths)
        if joined.propensity is None or (self._is_number and self.same is None):
            return
        rows = np.flatnonzero(~np.isnan(joined.propensity))
        if len(rows):
            self._add_randomised(joined.take(rows), truths[rows])

    def _add_randomised(self, joined: Joined, truths: Floats) -> None:
        other = self._others(joined)
        usable = ~np.isnan(other)
        if not usable.any():
            return
        assert joined.given is not None
        assert joined.propensity is not None
        given = self._answers(joined.given)
        values = [of(joined, self._shelf) for _, of in self._policies]
        answers = [self._classes(one) if self.same is None else self.same(one) for one in values]
        points = [
            # Only outcomes of its own answer tell how good a policy is, if answers cause them.
            self._measure.points(
                joined, one, np.where((self.same is None) | (own == given), truths, np.nan)
            )
            for one, own in zip(values, answers, strict=True)
        ]
        columns: tuple[npt.NDArray[Any], ...] = (
            given,
            other,
            joined.propensity,
            truths,
            *points,
            *answers,
            hashed_keys(joined),
        )
        self.randomised += int(usable.sum())
        self._kept.add(*(column[usable] for column in columns))

    def _others(self, joined: Joined) -> Floats:
        """Return the class of the answer of the schedule that was not drawn; NaN if unknown."""
        found = np.full(len(joined), np.nan)
        live = self._shelf.live_at(joined.time_ns)
        groups: dict[tuple[str, int], list[int]] = {}
        keys = joined.key.to_pylist()
        for row in range(len(joined)):
            if (name := self._other_schedule(joined, row, keys[row])) is not None:
                groups.setdefault((name, int(live[row])), []).append(row)
        for (name, version), chosen in groups.items():
            schedule = self._shelf.named(name) if name else self._shelf.live(version)
            if schedule is None:
                continue
            rows = np.array(chosen, np.int64)
            found[rows] = self._answers(self._shelf.values(joined.take(rows), schedule))
        return found

    def _other_schedule(self, joined: Joined, row: int, key: str | None) -> str | None:
        """Return the name of the schedule that was not drawn: empty for the live one."""
        if joined.cohort.at(row) is not None:
            return ""
        for cohorts in self._draws.near(int(joined.time_ns[row])):
            group = cohorts.group(key, joined.id(row))
            if group is not None and group in cohorts.explores:
                return cohorts.schedules[group]
        return None

    def _answers(self, values: Floats) -> Floats:
        """Return a number for each answer; equal answers have the same one."""
        if self.same is None:
            return self._classes(values)
        found = self.same(values)
        return np.where(np.isnan(found), NO_ANSWER, found)

    def _classes(self, values: Floats) -> Floats:
        """Return what an answer says, as a number by which answers are told apart."""
        reading = self._measure.reading
        if reading.kind == "probability":
            values = np.where(np.isnan(values), np.nan, values >= reading.threshold)
        elif self._is_number:
            values = np.where(np.isnan(values), np.nan, 0.0)
        return np.where(np.isnan(values), NO_ANSWER, values)

    def finish(self) -> Explored:
        coverage = tuple(
            Coverage(self._name(one), total, self._known[one])
            for one, total in self._totals.most_common(CLASSES_MAX)
        )
        names = (self._policies[0][0], self._policies[1][0])
        is_caused = self.same is not None
        metric = self._measure.metric
        base = Explored(
            metric, names, self.requests, coverage, self.randomised, is_caused=is_caused
        )
        if problem := self._problem():
            return replace(base, problem=problem)
        return self._caused(base) if is_caused else self._estimated(base)

    def _problem(self) -> str:
        """Return why there are no estimates; empty if there are."""
        is_caused, metric = self.same is not None, self._measure.metric
        if self._is_number and not is_caused:
            return "answers are numbers, whose labels are not told apart"
        if not self.randomised:
            return "no cohort explores: no request was randomised"
        if not is_caused or self._measure.problem:
            return self._measure.problem
        return self._truths.problem if metric.is_mean else NO_MEAN.format(name=metric.name)

    def _caused(self, base: Explored) -> Explored:
        given, other, propensity, truths, first, second, class_a, class_b, keys = (
            self._kept.columns()
        )
        drawn = Drawn(given, other, propensity, truths, (first, second), (class_a, class_b), keys)
        found = caused_estimates(self._measure, drawn)
        return replace(
            base,
            known=int((~np.isnan(truths)).sum()),
            supported=found.supported,
            effective=found.effective,
            policies=found.policies,
            problem=found.problem,
        )

    def _name(self, code: float) -> str:
        reading = self._measure.reading
        if code == NO_ANSWER:
            return "no answer of this kind"
        if reading.kind == "probability":
            return reading.positive if code else f"not {reading.positive}"
        return "any number" if self._is_number else self._measure.extract.name(code)

    def _estimated(self, base: Explored) -> Explored:
        given, other, propensity, truths, first, second, class_a, class_b, keys = (
            self._kept.columns()
        )
        known = ~np.isnan(truths)
        shares = _shares(given, known)
        seen = propensity * _of(shares, given) + (1 - propensity) * _of(shares, other)
        supported = seen > 0
        weights = np.where(known, 1 / np.where(supported, seen, 1), 0.0)
        columns = (first, second, truths, class_a, class_b, keys, weights)
        a, b, y, class_a, class_b, keys, heavy = (one[supported] for one in columns)
        found: dict[str, Mapping[str, Found]] = {
            "inverse propensity": self._weighted(a, b, y, keys, heavy)
        }
        is_known = not isinstance(found["inverse propensity"]["first"], Undefined)
        if self._measure.metric.is_mean and is_known:
            found["doubly robust"] = self._robust((a, b), (class_a, class_b), y, keys, heavy)
        policies = tuple(
            Policy(method, *(values[side] for side in ("first", "second", "difference")))
            for method, values in found.items()
        )
        return replace(
            base,
            known=int(known.sum()),
            supported=float(supported.mean()),
            effective=effective_number(heavy),
            policies=policies,
        )

    def _weighted(
        self, a: Floats, b: Floats, y: Floats, keys: Any, heavy: Floats
    ) -> dict[str, Found]:
        """Return the metric with each known outcome weighted by the inverse of its probability."""
        measure, rows = self._measure, heavy > 0
        options: dict[str, Any] = {
            "keys": keys[rows],
            "weights": heavy[rows],
            "missing": measure.missing,
            "positive": measure.positive,
        }
        try:
            return {
                "first": estimate(measure.metric, a[rows], y[rows], **options),
                "second": estimate(measure.metric, b[rows], y[rows], **options),
                "difference": difference(measure.metric, a[rows], b[rows], y[rows], **options),
            }
        except InvalidSample as error:
            nothing = Undefined(measure.metric.name, error.text())
            return dict.fromkeys(("first", "second", "difference"), nothing)

    def _robust(
        self,
        points: tuple[Floats, Floats],
        classes: tuple[Floats, Floats],
        y: Floats,
        keys: Any,
        heavy: Floats,
    ) -> dict[str, Found]:
        """Return the doubly robust means, over all randomised requests with support."""
        rows = []
        for own, of_class in zip(points, classes, strict=True):
            earned = self._measure.rows(own, y)
            expected = expected_by_group(earned, heavy, of_class, keys)
            weights = np.where(np.isnan(earned), 0.0, heavy)
            rows.append(doubly_robust(np.nan_to_num(earned), weights, expected, expected))
        mean = metric_named("value")
        return {
            "first": estimate(mean, rows[0], keys=keys),
            "second": estimate(mean, rows[1], keys=keys),
            "difference": difference(mean, rows[0], rows[1], keys=keys),
        }


@dataclass(frozen=True)
class _Shares:
    """The share of known outcomes by class of the answer."""

    classes: Floats
    shares: Floats


def _shares(given: Floats, known: npt.NDArray[np.bool_]) -> _Shares:
    classes, place = np.unique(given, return_inverse=True)
    total = np.bincount(place, minlength=len(classes))
    return _Shares(classes, np.bincount(place, known, len(classes)) / np.maximum(1, total))


def _of(shares: _Shares, answers: Floats) -> Floats:
    """Return the share of each answer; 0 for one that was never given."""
    place = np.minimum(np.searchsorted(shares.classes, answers), len(shares.classes) - 1)
    return np.where(shares.classes[place] == answers, shares.shares[place], 0.0)
