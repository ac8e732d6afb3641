"""Cells combine requests that no schedule of a search can distinguish into one weighted request.

All candidates have the ends of their steps on one grid of times. What a schedule decides depends
only on the interval of the grid in which each model reported, with an answer or without, and on the
order of the reports within an interval. A million requests make some thousands of such cells: the
decisions and their sums are exact, only the waits are those of the cell's average request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.evaluation.joined import NEVER_US
from rdv.evaluation.optimise.columns import Columns
from rdv.evaluation.whatif.arrivals import FOREVER_US, KEY_BITS, NEVER_KEY, Arrivals
from rdv.evaluation.whatif.decide import NOBODY, decide_all
from rdv.schedule import Schedule

MODELS_MAX = 5
"""The maximum number of models; more would make more cells than there are requests."""


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

    `right` (m + 1, cells) is how many would be right, `judged` the number of requests for which
    that is known.
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
        model = decided.model.astype(np.int64)  # NOBODY (-1) is the last row: the default
        score = self.right[model, np.arange(len(self))].sum() / max(1, self.judged)
        default = self.weight[decided.model == NOBODY].sum() / self.weight.sum()
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
    """Return the average arrival of each cell; it is in the cell's interval, and keeps the
    order.
    """
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
