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
from rdv.analysis.dataset.joined import NEVER_US, NONE
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import choose_reading
from rdv.analysis.dataset.schedules import read_schedules
from rdv.analysis.dataset.values import Extract, KnownTruths
from rdv.analysis.whatif.arrivals import FOREVER_US, KEY_BITS, NEVER_KEY, Arrivals, arrivals_of
from rdv.analysis.whatif.decide import NO_MODEL, decide_all
from rdv.analysis.whatif.plans import own_limits_us, sla_of
from rdv.decision.outcome import Outcome
from rdv.rendezvous.schedule import Schedule

JUDGED_MIN = 100
"""The minimum number of requests with a known outcome; fewer are not enough to learn from."""
REQUESTS_MAX = 4_000_000
"""The maximum number of requests, at about 50 bytes each; more are thinned out evenly."""

Floats = npt.NDArray[np.float32]
MODELS_MAX = 5
"""The maximum number of models; more would make more cells than there are requests."""


@dataclass(frozen=True)
class Columns:
    """n requests in order of time, m models.

    `right` has a row for each model, and one for the default: 1, 0, or NaN where that is unknown.
    """

    arrivals: Arrivals
    right: Floats

    def __len__(self) -> int:
        return len(self.arrivals)

    def take(self, rows: Any) -> Columns:
        return Columns(self.arrivals.take(rows), self.right[:, rows])


@dataclass(frozen=True)
class Study:
    """The columns, and what they are."""

    columns: Columns
    measure: str
    """"accuracy", or "agreement" (with the champion)."""
    champion: str | None
    left_out: int
    """The number of requests that had asked for another schedule, or had a limit of their own."""
    thinned: int
    """1 if every request is used; k if every k-th is."""
    notes: Notes
    problem: str = ""
    """Why accuracy is not measured."""
    reading: str = ""
    """How answers are judged by outcomes, in words."""


def read_columns(
    recorded: Recorded,
    live: Schedule,
    span_ns: tuple[int | None, int | None],
    *,
    outcome: Outcome,
    on: str | None,
    need_outcomes: bool,
    progress: Callable[[int], None],
) -> Study:
    """Read what is recorded. Raises NothingRecorded, TooManyValues, SystemFaults."""
    extract = Extract(choose_reading(recorded, outcome, on))
    join = Join(recorded, *span_ns, extract=extract)
    sla = sla_of(read_schedules(recorded, join.notes))
    outcomes = read_outcomes(recorded, join.notes)
    thinned = max(1, -(-join.request_count // REQUESTS_MAX))
    left_out = 0
    models: list[tuple[str, ...]] = []
    columns: list[tuple[Any, Any, Any]] = []
    known: list[npt.NDArray[np.float64]] = []
    for joined in join:
        usual = (joined.asked.codes == NONE) & (own_limits_us(joined, sla) == FOREVER_US)
        left_out += int((~usual).sum())
        rows = np.flatnonzero(usual)[::thinned]
        arrivals = arrivals_of(joined)
        assert joined.value is not None
        models.append(joined.models)
        columns.append((arrivals.key[:, rows], arrivals.is_answer[:, rows], joined.value[:, rows]))
        known.append(outcomes.of(joined, extract)[rows])
        progress(len(joined))
    names = tuple(dict.fromkeys(name for part in models for name in part))
    key, is_answer, value = (
        _stacked(models, parts, names, fill)
        for parts, fill in zip(zip(*columns, strict=True), (NEVER_KEY, False, np.nan), strict=True)
    )
    every = Arrivals(
        names,
        key,
        is_answer,
        np.full(key.shape[1], FOREVER_US, np.int64),
        np.ones(len(names), bool),
        np.zeros(len(names), bool),
    )
    first = live.steps[0].accept[0]
    champion = first if first in names else None
    truths, default = np.concatenate(known), extract.of_answer(live.default)
    problem = (
        _problem(extract, truths, need_outcomes) if len(outcomes) else "no outcomes are recorded"
    )
    if not problem:
        right, said = _judged(extract, value, truths, default), extract.reading.sentence()
        of_truth = Columns(every, right)
        return Study(of_truth, "accuracy", champion, left_out, thinned, join.notes, reading=said)
    agreed = np.full(len(truths), np.nan) if champion is None else value[names.index(champion)]
    if extract.is_number:
        extract = Extract(replace(extract.reading, kind="probability"))
        positive = (agreed >= extract.reading.threshold).astype(np.float64)
        agreed = np.where(np.isnan(agreed), np.nan, positive)
    of_champion = Columns(every, _judged(extract, value, agreed, default))
    return Study(of_champion, "agreement", champion, left_out, thinned, join.notes, problem)


def _problem(extract: Extract, truths: Any, need_outcomes: bool) -> str:
    """Return why accuracy is not measured; empty if it is."""
    known = KnownTruths(extract)
    known.add(truths)
    if not known.problem and known.known < JUDGED_MIN and not need_outcomes:
        return f"only {known.known:,} outcomes are known, at least {JUDGED_MIN} are needed"
    return known.problem


def _judged(extract: Extract, value: Any, truths: Any, default: float) -> Floats:
    rows = [extract.judge(own, truths) for own in value]
    rows.append(extract.judge(np.full(len(truths), default), truths))
    return np.stack(rows).astype(np.float32)


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
        return Tried(schedule, float(score), p99_ms, float(default))


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
        np.bincount(cell[known], weights=row[known].astype(np.float64), minlength=count)
        for row in columns.right
    ]
    return np.stack(sums), int(known.sum())
