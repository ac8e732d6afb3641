"""Find out what each model is worth: what it costs, what it answers, and what would be lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import DEFAULT, FALLBACK, RESULT, Joined
from rdv.analysis.dataset.keys import Keys, hashed_keys
from rdv.analysis.dataset.outcomes import read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.schedules import read_schedules
from rdv.analysis.measure import ROBUST, Kept, Measure, choose_measure
from rdv.analysis.measure.sides import (
    Judged,
    JudgedCollector,
    Measured,
    Unmeasured,
    share_change,
    share_of,
)
from rdv.analysis.metrics import Metric
from rdv.analysis.statistics import Interval
from rdv.analysis.whatif.arrivals import arrivals_of
from rdv.analysis.whatif.plans import Plans, all_values, decide_plans, own_limits_us, sla_of
from rdv.analysis.worth.advice import Facts, advise
from rdv.analysis.worth.result import ModelWorth, Worth
from rdv.analysis.worth.time_used import TimeUsed, time_used
from rdv.analysis.worth.without import arrivals_without, plans_without
from rdv.decision.outcome import INFERRED, Outcome
from rdv.decision.value import UNDECLARED, Value
from rdv.rendezvous.schedule import OTHERS, Schedule

NOT_ACCEPTED = "no schedule accepts it"
ROWS_MAX = 300_000
"""The maximum number of requests that are kept for intervals; more are thinned out evenly."""
Floats = npt.NDArray[np.float64]


def worth(
    recorded: Recorded,
    schedule: Schedule,
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    outcome: Outcome = INFERRED,
    metric: str = "",
    value: Value = UNDECLARED,
    on: str | None = None,
    canaries: Collection[str] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> Worth:
    """Return what each model is worth in this schedule, by the recorded requests.

    Without a model, every schedule is taken without it, and it has never reported. Raises
    NothingRecorded, TooManyValues, UnknownMetric, InvalidMetric, and the log's SystemFaults.
    """
    until_ns = time.time_ns() if until_ns is None else until_ns
    with choose_measure(recorded, outcome, on, metric, value, ROBUST) as measure:
        join = Join(recorded, since_ns, until_ns, extract=measure.extract)
        shelf = read_schedules(recorded, join.notes)
        outcomes = read_outcomes(recorded, join.notes)
        used = time_used(recorded, since_ns, until_ns)
        plans = Plans(schedule, {**shelf.named(), schedule.name: schedule})
        study = _Study(tuple(sorted(used)), plans, measure, sla_of(shelf))
        for joined in join:
            study.add(joined, outcomes.of(joined, measure.extract))
            progress(len(joined))
        return study.finish(join, schedule, used, canaries)


def champion_of(schedule: Schedule) -> str | None:
    """Return the model that the schedule prefers; None if it names none first."""
    first = schedule.steps[0].accept[0]
    return None if first == OTHERS else first


class _Study:
    """Adds one batch after another. `names` are the models that have reported."""

    def __init__(
        self,
        names: tuple[str, ...],
        plans: Plans,
        measure: Measure,
        sla: Callable[[str, str | None], float | None],
    ) -> None:
        self._names, self._plans, self._measure, self._sla = names, plans, measure, sla
        self._extract = measure.extract
        self._without = {name: plans_without(plans, name) for name in names}
        self.requests = 0
        self.first_ns, self.last_ns = 2**63 - 1, 0
        self.answered: Counter[str] = Counter()
        self.rescued: Counter[str] = Counter()
        self._mix = Kept(ROWS_MAX)
        """For each request: whether each model rescued it, whether it gets the default, whether it
        would without each model, and its key.
        """
        self._judged = JudgedCollector(measure, 1 + 2 * len(names), ROWS_MAX)
        self._asked: set[str] = set()
        """Other schedules than the live one that requests have asked for."""
        self._has_inline = False

    def add(self, joined: Joined, truths: Floats) -> None:
        self.requests += len(joined)
        self.first_ns = min(self.first_ns, int(joined.append_ns.min()))
        self.last_ns = max(self.last_ns, int(joined.append_ns.max()))
        keys = hashed_keys(joined)
        asked = joined.asked.counts()
        self._asked |= asked.keys() & self._plans.named.keys()
        self._has_inline |= any(one.startswith("{") for one in asked)
        rescued = self._count(joined)
        arrivals = arrivals_of(joined, own_limits_us(joined, self._sla))
        base = decide_plans(self._plans, joined, arrivals)
        values = [all_values(joined, base, self._plans, self._extract)]
        defaults = []
        for name in self._names:
            plans = self._without[name]
            decided = decide_plans(plans, joined, arrivals_without(arrivals, name))
            values.append(all_values(joined, decided, plans, self._extract))
            defaults.append(decided.kind == DEFAULT)
        values += [_own(joined, name) for name in self._names]
        self._mix.add(keys, base.kind == DEFAULT, *rescued, *defaults)
        self._judged.add(joined, values, truths)

    def _count(self, joined: Joined) -> npt.NDArray[np.bool_]:
        """Count who answered as recorded; return (models, n) where each rescued an answer."""
        rescued = np.zeros((len(self._names), len(joined)), bool)
        for code, answer in enumerate(joined.model.names):
            rows = joined.model.codes == code
            fallbacks = rows & (joined.kind == FALLBACK)
            for name in answer.split("+"):
                if name in self._names:
                    self.answered[name] += int(rows.sum())
                    self.rescued[name] += int(fallbacks.sum())
                    rescued[self._names.index(name)] |= fallbacks
        return rescued

    def finish(
        self,
        join: Join,
        schedule: Schedule,
        used: dict[str, TimeUsed],
        canaries: Collection[str],
    ) -> Worth:
        judged = self._judged.judged()
        metric = self._measure.metric
        champion = champion_of(schedule)
        mix = judged.side(0)
        keys, default, *columns = self._mix.columns()
        rescued, defaults = columns[: len(self._names)], columns[len(self._names) :]
        found = []
        for row, name in enumerate(self._names):
            own = 1 + len(self._names) + row
            gain = _gain(metric, judged.change(0, 1 + row))
            lost = share_change(defaults[row], default, keys)
            if not self._is_accepted(name):
                lost = Measured(0.0, Interval(0.0, 0.0, 0.0, 1.0, NOT_ACCEPTED))
            elif isinstance(gain, Measured) and gain.value == 0 and _is_exact(gain):
                gain = _rarely(judged.keys)
            beside = self._beside(judged, own, champion)
            facts = Facts(
                name,
                lost,
                gain,
                beside.gain,
                mix.value if isinstance(mix, Measured) else 0.0,
                beside.judged,
                name in canaries,
            )
            found.append(
                ModelWorth(
                    name,
                    used[name],
                    self.answered[name],
                    self.rescued[name],
                    share_of(rescued[row], keys),
                    beside.right_where_wrong,
                    beside.judged,
                    beside.wrong,
                    facts,
                    None if name == champion else advise(facts),
                )
            )
        seconds = max(1e-9, (self.last_ns - self.first_ns) / 1e9)
        return Worth(
            schedule,
            champion,
            metric,
            mix,
            self.requests,
            self._judged.known,
            seconds,
            tuple(found),
            self._measure.sentence() if self._judged.known else "",
            tuple(join.notes.lines()),
        )

    def _is_accepted(self, name: str) -> bool:
        """Return whether any schedule may give this model's answer."""
        if self._has_inline:
            return True
        schedules = [self._plans.live, *(self._plans.named[one] for one in self._asked)]
        return any({name, OTHERS} & set(s.accept) for one in schedules for s in one.steps)

    def _beside(self, judged: Judged, own: int, champion: str | None) -> Beside:
        """Return how a model does on the requests that it and the champion have answered."""
        if champion is None or champion not in self._names:
            return Beside(reason="the schedule prefers no model that has reported")
        first = 1 + len(self._names) + self._names.index(champion)
        if first == own:
            return Beside(reason="it is the champion")
        mine, theirs = judged.values[own], judged.values[first]
        part = judged.take(~np.isnan(mine) & ~np.isnan(theirs), (own, first))
        right, wrong = (self._extract.judge(one, part.truth) for one in part.values)
        missed = wrong == 0
        return Beside(
            _gain(self._measure.metric, part.change(0, 1)),
            share_of(right[missed] == 1, part.keys[missed]),
            len(part) * judged.thinned,
            int(missed.sum()) * judged.thinned,
        )


class Beside:
    """A model beside the champion, on the requests that both have answered."""

    def __init__(
        self,
        gain: Measured | Unmeasured | None = None,
        right_where_wrong: Measured | Unmeasured | None = None,
        judged: int = 0,
        wrong: int = 0,
        reason: str = "",
    ) -> None:
        self.gain = Unmeasured(reason) if gain is None else gain
        self.right_where_wrong = (
            Unmeasured(reason) if right_where_wrong is None else right_where_wrong
        )
        self.judged, self.wrong = judged, wrong


def _is_exact(one: Measured) -> bool:
    return one.interval is not None and one.interval.low == one.interval.high


def _rarely(keys: Keys) -> Measured:
    """Return the gain of a model that changed nothing here, but may for another key."""
    found = share_of(np.zeros(len(keys)), keys)
    if isinstance(found, Unmeasured) or found.interval is None:
        return Measured(0.0, None, found.reason)
    high = found.interval.high
    return Measured(0.0, Interval(0.0, -high, high, 0.95, "Wilson, by key"))


def _own(joined: Joined, name: str) -> Floats:
    """Return the values of a model's own answers; NaN without one."""
    assert joined.value is not None
    if name not in joined.models:
        return np.full(len(joined), np.nan)
    row = joined.models.index(name)
    return np.where(joined.outcome[row] == RESULT, joined.value[row], np.nan)


def _gain(metric: Metric, change: Measured | Unmeasured) -> Measured | Unmeasured:
    """Return a change with the sign by which more is better."""
    if isinstance(change, Unmeasured) or metric.higher_is_better:
        return change
    one = change.interval
    if one is not None:
        one = Interval(0.0 - one.estimate, -one.high, -one.low, one.confidence, one.method)
    return Measured(0.0 - change.value, one, change.reason)
