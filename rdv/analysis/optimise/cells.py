"""The requests that a search learns from, and cells of those that no candidate can distinguish.

All candidates have the ends of their steps on one grid of times. What a schedule decides depends
only on the interval of the grid in which each model reported, with an answer or without, and on the
order of the reports within an interval. So a million requests make some thousands of weighted
cells: the decisions and their sums are exact, only the waits are those of a cell's average request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import NEVER_US, NONE, Joined
from rdv.analysis.dataset.keys import Keys, hashed_keys
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import Outcomes, read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.schedules import read_schedules
from rdv.analysis.dataset.values import Extract, KnownTruths
from rdv.analysis.measure import Measure, Rate, choose_measure
from rdv.analysis.measure.contrast import share_metric
from rdv.analysis.metrics import Metric
from rdv.analysis.optimise.scorer import Scorer, guide
from rdv.analysis.whatif.arrivals import FOREVER_US, KEY_BITS, NEVER_KEY, Arrivals, arrivals_of
from rdv.analysis.whatif.decide import NO_MODEL, Decided, decide_all
from rdv.analysis.whatif.plans import own_limits_us, sla_of
from rdv.decision.outcome import Outcome
from rdv.decision.value import UNDECLARED, Value
from rdv.rendezvous.schedule import Schedule

JUDGED_MIN = 100
"""The minimum number of requests with a known outcome; fewer are not enough to learn from."""
REQUESTS_MAX = 4_000_000
"""The maximum number of requests, at about 50 bytes each; more are thinned out evenly."""

Floats = npt.NDArray[np.float32]
EXACT_REQUESTS_MAX = 1_000_000
"""The same for a metric that is not a mean, at about 110 bytes each."""
MODELS_MAX = 5
"""The maximum number of models; more would make more cells than there are requests."""


@dataclass(frozen=True)
class Columns:
    """n requests in order of time, m models.

    `right` has a row for each model, and one for the default: how good its answer is (1 or 0, or
    the metric, where higher is better), and NaN where that is unknown. `keys` are hashes of the
    requests' keys; None: every request has its own. For a metric that is not a mean, `points` are
    what it takes, in the rows of `right`, and `truths` the outcomes; `right` then is the guide
    (`optimise.guide`) by which candidates are chosen for exact evaluation.
    """

    arrivals: Arrivals
    right: Floats
    keys: Keys | None = None
    points: npt.NDArray[np.float64] | None = None
    truths: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.arrivals)

    def take(self, rows: Any) -> Columns:
        """Return some of the requests: a slice, a mask or numbers."""
        keys = None if self.keys is None else self.keys[rows]
        points = None if self.points is None else self.points[:, rows]
        truths = None if self.truths is None else self.truths[rows]
        return Columns(self.arrivals.take(rows), self.right[:, rows], keys, points, truths)


@dataclass(frozen=True)
class Study:
    """The columns, and what they are."""

    columns: Columns
    scorer: Scorer
    """What is measured; by default accuracy, or the agreement with the champion."""
    champion: str | None
    left_out: int
    """The number of requests that had asked for another schedule, had a limit of their own, or
    were ended by a judge of the input."""
    thinned: int
    """1 if every request is used; k if every k-th is."""
    notes: Notes
    problem: str = ""
    """Why accuracy is not measured."""
    reading: str = ""
    """How answers are judged by outcomes, in words."""
    unit: str = ""
    per_day: float | None = None
    """Requests a day, at the recorded rate."""
    lacking: tuple[str, ...] = ()
    """Models that never answer with what is measured."""
    unmeasured: int = 0
    """Requests with a known outcome to which some answer has no such value."""

    @property
    def metric(self) -> Metric:
        """The metric that is measured."""
        return self.scorer.metric

    @property
    def measure(self) -> str:
        """The name of what is measured."""
        return self.metric.title


def read_columns(
    recorded: Recorded,
    live: Schedule,
    span_ns: tuple[int | None, int | None],
    *,
    outcome: Outcome,
    on: str | None,
    need_outcomes: bool,
    metric: str = "",
    value: Value = UNDECLARED,
    progress: Callable[[int], None],
) -> Study:
    """Read what is recorded; with a `metric`, outcomes are needed.

    Raises NothingRecorded, TooManyValues, SystemFaults.
    """
    measure = choose_measure(recorded, outcome, on, metric, value)
    limit = REQUESTS_MAX if measure.metric.is_mean else EXACT_REQUESTS_MAX
    join = Join(recorded, *span_ns, extract=measure.extract)
    batches = _Batches(
        measure,
        live,
        sla_of(read_schedules(recorded, join.notes)),
        read_outcomes(recorded, join.notes),
        max(1, -(-join.request_count // limit)),
    )
    with measure:
        for joined in join:
            batches.add(joined)
            progress(len(joined))
    return batches.study(join.notes, need_outcomes=need_outcomes or bool(metric))


class _Batches:
    """Collects the columns of a study, batch by batch."""

    def __init__(
        self,
        measure: Measure,
        live: Schedule,
        sla: Callable[[str, str | None], float | None],
        outcomes: Outcomes,
        thinned: int,
    ) -> None:
        self._measure, self._live, self._sla = measure, live, sla
        self._outcomes, self._thinned = outcomes, thinned
        self._left_out = 0
        self._models: list[tuple[str, ...]] = []
        self._by_model: list[tuple[Any, Any, Any, Any]] = []
        self._by_request: list[tuple[Any, Any, Any]] = []
        self._rate = Rate()
        self._default = measure.extract.of_answer(live.default)
        self._kind = np.float32 if measure.metric.is_mean else np.float64

    def add(self, joined: Joined) -> None:
        usual = (joined.asked.codes == NONE) & (own_limits_us(joined, self._sla) == FOREVER_US)
        arrivals = arrivals_of(joined)
        if arrivals.is_bad_input is not None:
            judges = [name in self._live.input_judges for name in joined.models]
            usual &= ~arrivals.is_bad_input[np.array(judges, bool)].any(axis=0)
        self._left_out += int((~usual).sum())
        rows = np.flatnonzero(usual)[:: self._thinned]
        self._rate.add(joined.append_ns)
        assert joined.value is not None
        truths = np.full(len(joined), np.nan)
        truths[rows] = self._outcomes.of(joined, self._measure.extract)[rows]
        default = np.full(len(joined), self._default)
        *good, given = (
            _taken(self._measure, joined, own, truths)[rows] for own in (*joined.value, default)
        )
        right = np.array(good, self._kind).reshape(len(joined.models), len(rows))
        columns = arrivals.key, arrivals.is_answer, joined.value
        self._models.append(joined.models)
        self._by_model.append((*(column[:, rows] for column in columns), right))  # type: ignore[arg-type]
        self._by_request.append((truths[rows], given, hashed_keys(joined)[rows]))

    def study(self, notes: Notes, *, need_outcomes: bool) -> Study:
        """Return the study of all that was added."""
        measure, extract = self._measure, self._measure.extract
        names = tuple(dict.fromkeys(name for part in self._models for name in part))
        key, is_answer, values, right = (
            _stacked(self._models, parts, names, fill)
            for parts, fill in zip(
                zip(*self._by_model, strict=True), (NEVER_KEY, False, np.nan, np.nan), strict=True
            )
        )
        truths, given, keys = (
            np.concatenate(column) for column in zip(*self._by_request, strict=True)
        )
        count = len(names)
        forever = np.full(key.shape[1], FOREVER_US, np.int64)
        every = Arrivals(
            names, key, is_answer, forever, np.ones(count, bool), np.zeros(count, bool)
        )
        first = self._live.steps[0].accept[0]
        champion = first if first in names else None
        fixed = champion, self._left_out, self._thinned, notes
        problem = "no outcomes are recorded"
        if len(self._outcomes):
            problem = measure.problem or _problem(extract, truths, need_outcomes)
        if not problem and measure.missing == "left out" and np.isnan(given).all():
            problem = f"the default has no value of {measure.metric.name}, so its cost is unknown"
        if problem:
            agreed = self._agreed(extract, values, names, champion, len(truths))
            scorer = Scorer(share_metric("agreement"))
            return Study(Columns(every, agreed, keys), scorer, *fixed, problem)
        lacks = is_answer.any(axis=1) & np.isnan(values).all(axis=1)
        taken = np.concatenate([right, given[None].astype(self._kind)])
        columns, unmeasured = self._columns(every, keys, taken, truths, lacks)
        return Study(
            columns,
            Scorer(measure.metric, measure.missing, measure.positive),
            *fixed,
            reading=measure.sentence(),
            unit=measure.unit,
            per_day=self._rate.per_day,
            lacking=tuple(name for name, lack in zip(names, lacks, strict=True) if lack),
            unmeasured=unmeasured,
        )

    def _columns(
        self, arrivals: Arrivals, keys: Keys, taken: Any, truths: Any, lacks: Any
    ) -> tuple[Columns, int]:
        """Return the columns, and how many requests are left out as an answer has no value."""
        measure, is_answer = self._measure, arrivals.is_answer
        if measure.metric.is_mean:
            unmeasured = _drop_unmeasured(taken, is_answer, truths, lacks)
            return Columns(arrivals, taken, keys), unmeasured
        right = guide(measure, taken, truths)
        unmeasured = _drop_unmeasured(right, is_answer, truths, lacks)
        truths = np.where(np.isnan(right[-1]), np.nan, truths)
        return Columns(arrivals, right, keys, taken, truths), unmeasured

    def _agreed(
        self,
        extract: Extract,
        values: Any,
        names: tuple[str, ...],
        champion: str | None,
        count: int,
    ) -> Floats:
        """Return whether each answer agrees with the champion's."""
        agreed = np.full(count, np.nan) if champion is None else values[names.index(champion)]
        if extract.is_number:
            extract = Extract(replace(extract.reading, kind="probability"))
            positive = (agreed >= extract.reading.threshold).astype(np.float64)
            agreed = np.where(np.isnan(agreed), np.nan, positive)
        rows = [extract.judge(own, agreed) for own in values]
        rows.append(extract.judge(np.full(count, self._default), agreed))
        return np.stack(rows).astype(np.float32)


def _taken(measure: Measure, joined: Joined, values: Any, truths: Any) -> Any:
    """Return the metric of each request, where higher is better; NaN where it is not known.

    For a metric that is not a mean, return what it takes.
    """
    if not measure.metric.is_mean:
        return measure.points(joined, values, truths)
    found = measure.rows(measure.points(joined, values, truths), truths)
    return found if measure.metric.higher_is_better else -found


def _drop_unmeasured(right: Any, is_answer: Any, truth: Any, lacks: Any) -> int:
    """Make unknown the requests to which some answer has no value; return how many.

    Otherwise a schedule could win by giving answers that cannot be measured. A model that lacks
    the value in all answers is no candidate; only its own answers are unknown.
    """
    missing = np.isnan(right[:-1]) & is_answer & ~lacks[:, None]
    unmeasured = (missing.any(axis=0) | np.isnan(right[-1])) & ~np.isnan(truth)
    right[:, unmeasured | np.isnan(truth)] = np.nan
    right[:-1][lacks] = np.nan
    return int(unmeasured.sum())


def _problem(extract: Extract, truths: Any, need_outcomes: bool) -> str:
    """Return why outcomes do not measure; empty if they do."""
    known = KnownTruths(extract)
    known.add(truths)
    if not known.problem and known.known < JUDGED_MIN and not need_outcomes:
        return f"only {known.known:,} outcomes are known, at least {JUDGED_MIN} are needed"
    return known.problem


def _stacked(
    owners: list[tuple[str, ...]], columns: Sequence[Any], models: tuple[str, ...], fill: Any
) -> Any:
    """Concatenate batches, with their models in one order."""
    aligned = []
    for own, column in zip(owners, columns, strict=True):
        whole = np.full((len(models), column.shape[1]), fill, column.dtype)
        for row, model in enumerate(own):
            whole[models.index(model)] = column[row]
        aligned.append(whole)
    return np.concatenate(aligned, axis=1)


def arrivals_us(arrivals: Arrivals) -> npt.NDArray[np.int64]:
    """Return the arrivals in µs, (m, n); NEVER_US for never."""
    return arrivals.key >> KEY_BITS


@dataclass(frozen=True)
class Tried:
    """A candidate and its figures, on the part that is learned from."""

    schedule: Schedule
    score: float
    p99_ms: float
    default_share: float
    is_idle: bool = False
    """Whether it has a step, besides the last one, in which no request is answered."""


@dataclass(frozen=True)
class Cells:
    """Each cell stands for `weight` requests.

    `right` (m + 1, cells) is how many would be right, `judged` of how many that is known.
    """

    arrivals: Arrivals
    weight: npt.NDArray[np.int64]
    right: npt.NDArray[np.float64]
    judged: int

    def __len__(self) -> int:
        return len(self.weight)

    def try_out(self, schedule: Schedule) -> Tried:
        """Return the figures of one candidate."""
        decided = decide_all(schedule, self.arrivals)
        model = decided.model.astype(np.int64)  # NO_MODEL (-1) is the last row: the default
        score = self.right[model, np.arange(len(self))].sum() / max(1, self.judged)
        default = self.weight[decided.model == NO_MODEL].sum() / self.weight.sum()
        p99_ms = weighted_quantile(decided.at_us, self.weight, 0.99) / 1000
        return Tried(schedule, float(score), p99_ms, float(default), is_idle(schedule, decided))


def is_idle(schedule: Schedule, decided: Decided) -> bool:
    """Return whether no request is answered in some step, other than the last one."""
    answered = decided.step[decided.model != NO_MODEL]
    used = set(np.unique(answered).tolist())
    return any(number not in used for number in range(1, len(schedule.steps)))


def weighted_quantile(
    values: npt.NDArray[np.int64], weight: npt.NDArray[np.int64], share: float
) -> float:
    """Return the value that the given share of the weight does not exceed."""
    order = np.argsort(values)
    upto = np.cumsum(weight[order])
    return float(values[order[np.searchsorted(upto, share * upto[-1] - 1e-9)]])


def make_cells(columns: Columns, edges_us: npt.NDArray[np.int64]) -> Cells:
    """Combine requests over a grid of times. At most MODELS_MAX models."""
    arrivals = columns.arrivals
    key = arrivals.key
    count = len(arrivals.models)
    base = (len(edges_us) + 2) * 2 * max(1, count)
    code = np.zeros(len(columns), np.int64)
    ranks = []
    bins = [np.searchsorted(edges_us, own >> KEY_BITS, "right") for own in key]
    for number in range(count):
        rank = np.zeros(len(columns), np.int64)
        for other in range(count):
            if other != number:
                rank += (bins[other] == bins[number]) & (key[other] < key[number])
        is_there = key[number] < NEVER_KEY
        rank[~is_there] = 0
        place = np.where(is_there, bins[number], len(edges_us) + 1)
        own = (place * 2 + arrivals.is_answer[number]) * max(1, count) + rank
        code = code * base + own
        ranks.append(rank)
    _, first, cell = np.unique(code, return_index=True, return_inverse=True)
    weight = np.bincount(cell, minlength=len(first))
    right, judged = _right(columns, cell, len(first))
    return Cells(
        Arrivals(
            arrivals.models,
            np.stack([_mean(key[n], ranks[n], cell, first, weight) for n in range(count)]),
            arrivals.is_answer[:, first],
            np.full(len(first), FOREVER_US, np.int64),
            arrivals.is_live,
            arrivals.is_dead,
        ),
        weight,
        right,
        judged,
    )


def _mean(key: Any, rank: Any, cell: Any, first: Any, weight: Any) -> npt.NDArray[np.int64]:
    """Return the average arrival of each cell: in the cell's interval, and in the same order."""
    at_us = np.minimum(key >> KEY_BITS, NEVER_US).astype(np.float64)
    mean_us = (np.bincount(cell, weights=at_us, minlength=len(first)) / weight).astype(np.int64)
    means = (mean_us << KEY_BITS) | rank[first]
    return np.where(key[first] < NEVER_KEY, means, NEVER_KEY)


def _right(columns: Columns, cell: Any, count: int) -> tuple[npt.NDArray[np.float64], int]:
    known = ~np.isnan(columns.right[-1])
    sums = [
        np.bincount(
            cell[known], weights=np.nan_to_num(row[known]).astype(np.float64), minlength=count
        )
        for row in columns.right
    ]
    return np.stack(sums), int(known.sum())
