"""Decide requests that follow several schedules: each group by its own, then combined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rdv.evaluation.joined import Joined
from rdv.evaluation.values import Extract
from rdv.evaluation.whatif.answers import names_of, values_of
from rdv.evaluation.whatif.arrivals import Arrivals
from rdv.evaluation.whatif.decide import NOBODY, Decided, decide_all
from rdv.evaluation.whatif.plans import Plans


def decide_plans(plans: Plans, joined: Joined, arrivals: Arrivals) -> Decided:
    """Decide every request by the schedule that it gets."""
    whole: Decided | None = None
    for schedule, rows, exists in plans.groups(joined):
        if len(rows) == len(joined) and exists:
            return decide_all(schedule, arrivals)
        if not len(rows):
            continue
        part_arrivals = arrivals.take(rows)
        if not exists:
            part_arrivals = replace(part_arrivals, wait_us=np.zeros(len(rows), np.int64))
        part = decide_all(schedule, part_arrivals)
        if whole is None:
            whole = _empty(len(arrivals.models), len(joined))
        _put(whole, part, rows)
    assert whole is not None
    return whole


def _empty(models: int, count: int) -> Decided:
    return Decided(
        np.zeros(count, np.uint8),
        np.full(count, -1, np.int16),
        np.zeros(count, np.uint8),
        np.zeros(count, np.int64),
        np.zeros(count, bool),
        np.zeros((models, count), bool),
    )


def _put(whole: Decided, part: Decided, rows: npt.NDArray[np.int64]) -> None:
    whole.kind[rows], whole.model[rows] = part.kind, part.model
    whole.step[rows], whole.at_us[rows] = part.step, part.at_us
    whole.is_combined[rows] = part.is_combined
    if part.winners is not None and whole.winners is not None:
        whole.winners[:, rows] = part.winners


def part_of(whole: Decided, rows: npt.NDArray[np.int64]) -> Decided:
    return Decided(
        whole.kind[rows],
        whole.model[rows],
        whole.step[rows],
        whole.at_us[rows],
        whole.is_combined[rows],
        None if whole.winners is None else whole.winners[:, rows],
    )


def all_names(joined: Joined, decided: Decided, plans: Plans) -> list[str | None]:
    """Return the model that answers each request."""
    names: list[str | None] = [None] * len(joined)
    for schedule, rows, _ in plans.groups(joined):
        if len(rows) == len(joined):
            return names_of(joined, decided, schedule)
        if len(rows):
            found = names_of(joined.take(rows), part_of(decided, rows), schedule)
            for row, name in zip(rows.tolist(), found, strict=True):
                names[row] = name
    return names


def all_values(
    joined: Joined, decided: Decided, plans: Plans, extract: Extract
) -> npt.NDArray[np.float64]:
    """Return the value of each answer; `decided` is changed where answers cannot be combined."""
    values = np.full(len(joined), np.nan)
    for schedule, rows, exists in plans.groups(joined):
        if len(rows) == len(joined):
            return values_of(joined, decided, schedule, extract)
        if not len(rows):
            continue
        part = part_of(decided, rows)
        if not exists:
            part.model[:] = NOBODY
        values[rows] = values_of(joined.take(rows), part, schedule, extract)
        decided.kind[rows], decided.is_combined[rows] = part.kind, part.is_combined
    return values
