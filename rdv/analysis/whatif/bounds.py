"""Bound the figures of a what-if where refusals hide when an answer would have come.

A model that has refused may refuse again, or answer from the moment of its refusal on, or never.
What a request gets then is found for every combination: the refusal as recorded, silence, the
answer at once, and, where a step needs several answers, also the answer just after each step's end.
Each request counts with its lowest and its highest case, so that no case lies outside the bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import DEFAULT, FALLBACK, KINDS, PREFERRED
from rdv.analysis.whatif.arrivals import KEY_BITS, NEVER_KEY, Arrivals
from rdv.analysis.whatif.decide import NO_MODEL, Decided
from rdv.analysis.whatif.result import Side
from rdv.rendezvous.limits import Limits
from rdv.rendezvous.plan import Plan
from rdv.rendezvous.schedule import Schedule

CASES_MAX = 1_000
"""The maximum number of combinations for a request; with more, nothing is known of it."""
_KINDS = (PREFERRED, FALLBACK, DEFAULT)
Bools = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Decide = Callable[[npt.NDArray[np.int64], Arrivals], Decided]
"""Decides these rows by their schedules, with other arrivals."""


@dataclass
class Extremes:
    """The lowest and the highest case of each of some requests. `kinds` have a row for each kind.

    `right` is NaN where the outcome is not known.
    """

    kinds_low: Bools
    kinds_high: Bools
    at_low_us: Keys
    at_high_us: Keys
    right_low: Floats
    right_high: Floats

    @classmethod
    def of(cls, decided: Decided, right: Floats) -> Extremes:
        """Return those of requests of which one case is all there is."""
        kinds = np.stack([decided.kind == kind for kind in _KINDS])
        at_us = decided.at_us
        return cls(
            kinds,
            kinds.copy(),
            at_us.copy(),
            at_us.copy(),
            right.astype(float),
            right.astype(float),
        )

    def widen(
        self, rows: npt.NDArray[np.int64], decided: Decided, low: Floats, high: Floats
    ) -> None:
        """Add a case of some of the requests."""
        kinds = np.stack([decided.kind == kind for kind in _KINDS])
        self.kinds_low[:, rows] &= kinds
        self.kinds_high[:, rows] |= kinds
        self.at_low_us[rows] = np.minimum(self.at_low_us[rows], decided.at_us)
        self.at_high_us[rows] = np.maximum(self.at_high_us[rows], decided.at_us)
        self.right_low[rows] = np.minimum(self.right_low[rows], low)
        self.right_high[rows] = np.maximum(self.right_high[rows], high)

    def may_fall_back(self, rows: npt.NDArray[np.int64]) -> None:
        """Let the answers of some requests be one that could not be combined."""
        self.kinds_low[0, rows] = False
        self.kinds_high[1, rows] = True

    def give_up(self, rows: npt.NDArray[np.int64], until_us: Keys) -> None:
        """Let anything be possible for some of the requests."""
        self.kinds_low[:, rows] = False
        self.kinds_high[:, rows] = True
        self.at_low_us[rows] = 0
        self.at_high_us[rows] = until_us
        known = rows[~np.isnan(self.right_low[rows])]
        self.right_low[known], self.right_high[known] = 0.0, 1.0

    def add_to(self, low: Side, high: Side) -> None:
        """Add these requests to the sides that have every figure's lowest and highest value."""
        ends = (
            (low, self.kinds_low, self.at_low_us, self.right_low, ~self.kinds_high[2]),
            (high, self.kinds_high, self.at_high_us, self.right_high, ~self.kinds_low[2]),
        )
        for side, kinds, at_us, right, in_time in ends:
            side.requests += len(at_us)
            for kind, row in zip(_KINDS, kinds, strict=True):
                side.kinds[str(KINDS[kind])] += int(row.sum())
            side.in_time += int(in_time.sum())
            side.waits.add(at_us)
            side.judge(right)


def extremes(
    arrivals: Arrivals,
    refused: Bools,
    decided: Decided,
    decide: Decide,
    schedules: list[Schedule],
    right_of: Callable[[npt.NDArray[np.int64], Decided], Floats],
) -> Extremes:
    """Return the extremes of these requests, which are decided as recorded in `decided`.

    `refused` (m, n) is where an accepted model has refused. `right_of` says of rows and decisions
    by recorded answers which are right.
    """
    everything = np.arange(len(arrivals))
    found = Extremes.of(decided, right_of(everything, decided))
    plans = [Plan(schedule, Limits().wait_ms_max) for schedule in schedules]
    ends_us = _ends_us(plans)
    counts = refused.sum(axis=0)
    for count in np.unique(counts[counts > 0]).tolist():
        rows = everything[counts == count]
        cases = list(_cases(count, ends_us))
        if not cases:
            longest = max(plan.wait_ns // 1000 for plan in plans)
            found.give_up(rows, np.minimum(arrivals.wait_us[rows], longest))
            continue
        part = arrivals.take(rows)
        who = np.argsort(~refused[:, rows], axis=0, kind="stable")[:count]
        for case in cases:
            changed, is_new = _changed(part, who, case)
            case_decided = decide(rows, changed)
            right = right_of(rows, case_decided)
            unknown = _unknown(case_decided, is_new) & ~np.isnan(right)
            low, high = np.where(unknown, 0.0, right), np.where(unknown, 1.0, right)
            found.widen(rows, case_decided, low, high)
            found.may_fall_back(rows[_combines(case_decided, is_new)])
    return found


Case = tuple[int | None, ...]
"""For each refusal: REFUSED, None for silence, or from when on (µs) there is an answer."""
REFUSED = -1


def _ends_us(plans: list[Plan]) -> list[int]:
    """Return when an answer may come that changes what a step does: besides at once, step ends."""
    if all(step.is_single for plan in plans for step in plan.steps):
        return [0]
    return sorted({0, *(step.end_ns // 1000 for plan in plans for step in plan.steps[:-1])})


def _cases(count: int, ends_us: list[int]) -> Iterator[Case]:
    """Yield every combination for so many refusals; nothing if there are too many."""
    for choices in ([REFUSED, None, *ends_us], [REFUSED, None, 0]):
        if len(choices) ** count <= CASES_MAX:
            yield from product(choices, repeat=count)
            return
        if any(end for end in ends_us):
            return


def _changed(part: Arrivals, who: npt.NDArray[np.intp], case: Case) -> tuple[Arrivals, Bools]:
    """Return the arrivals in this case, and which of them are made up (m, n)."""
    key, is_answer = part.key.copy(), part.is_answer.copy()
    is_new = np.zeros(key.shape, bool)
    columns = np.arange(key.shape[1])
    for model, what in zip(who, case, strict=True):
        if what == REFUSED:
            continue
        if what is None:
            key[model, columns] = NEVER_KEY
            continue
        key[model, columns] = np.maximum(key[model, columns], what << KEY_BITS)
        is_answer[model, columns] = True
        is_new[model, columns] = True
    return replace(part, key=key, is_answer=is_answer), is_new


def _combines(decided: Decided, is_new: Bools) -> Bools:
    """Return where an answer that is made up has a part in a combined one."""
    if decided.winners is None:
        return decided.is_combined
    found: Bools = decided.is_combined & (decided.winners & is_new).any(axis=0)
    return found


def _unknown(decided: Decided, is_new: Bools) -> Bools:
    """Return where the answer is made up, or made of answers: what it says is not known."""
    model = decided.model.astype(np.int64)
    made_up: Bools = (model != NO_MODEL) & is_new[model, np.arange(len(model))]
    return made_up | decided.is_combined
