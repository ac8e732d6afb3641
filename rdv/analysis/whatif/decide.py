"""Apply the decision rule to many requests at once: numpy over columns instead of a mailbox each.

It equals `rdv.rendezvous.Engine` decision for decision (a property test compares the two), for
models that are known to be up or dead all the time. Requests are decided in blocks that fit the
processor's cache; within a block, step by step, each for all requests that are still open.

An instant of one request is a key (see `Arrivals`): what has a smaller key has happened. A step
that has run out at µs t continues with everything before t << KEY_BITS; one that has ended early,
by a refusal, with everything up to that refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import DEFAULT, FALLBACK, PREFERRED
from rdv.analysis.whatif.arrivals import KEY_BITS, NEVER_KEY, Arrivals
from rdv.rendezvous.limits import Limits
from rdv.rendezvous.plan import NOT_ACCEPTED, Plan, PlanStep
from rdv.rendezvous.schedule import Schedule

BLOCK_ROWS = 32_768
NO_MODEL = -1

Keys = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Decided:
    """One row for each request. `model` is an index into the arrivals' models, or NO_MODEL.

    `is_combined`: the answer is made of `winners` (m, n), if they can be combined; `model` is then
    the best-ranked of them. `winners` is None if the schedule combines nothing.
    """

    kind: npt.NDArray[np.uint8]
    model: npt.NDArray[np.int16]
    step: npt.NDArray[np.uint8]
    at_us: Keys
    is_combined: Bools
    winners: Bools | None

    def __len__(self) -> int:
        return len(self.kind)

    @classmethod
    def empty(cls, models: int, count: int) -> Decided:
        """Return `count` decisions for the default."""
        return cls(
            np.full(count, DEFAULT, np.uint8),
            np.full(count, NO_MODEL, np.int16),
            np.zeros(count, np.uint8),
            np.zeros(count, np.int64),
            np.zeros(count, bool),
            np.zeros((models, count), bool),
        )

    def take(self, rows: npt.NDArray[np.int64]) -> Decided:
        """Return these rows."""
        return Decided(*(None if one is None else one[..., rows] for one in self._columns()))  # type: ignore[arg-type]

    def put(self, rows: npt.NDArray[np.int64], part: Decided) -> None:
        """Replace these rows."""
        for whole, own in zip(self._columns(), part._columns(), strict=True):
            if whole is not None and own is not None:
                whole[..., rows] = own

    def _columns(self) -> list[npt.NDArray[Any] | None]:
        return [getattr(self, column.name) for column in fields(self)]


def decide_all(schedule: Schedule, arrivals: Arrivals) -> Decided:
    """Decide these arrivals by the schedule. O(n·m·steps); m² if a step needs several."""
    rule = _Rule(Plan(schedule, Limits().wait_ms_max), arrivals)
    count = len(arrivals)
    out = Decided.empty(len(arrivals.models), count)
    if not any(step.combine != "best" for step in rule.plan.steps):
        out = replace(out, winners=None)
    for start in range(0, count, BLOCK_ROWS):
        rule.decide(slice(start, min(start + BLOCK_ROWS, count)), out)
    return out


class _Open:
    """The requests of a block that are still open."""

    def __init__(self, arrivals: Arrivals, rows: slice, limit_us: int, judged: Keys) -> None:
        self.rows = np.arange(rows.start, rows.stop)
        self.key = [column[rows] for column in arrivals.key]
        self.is_answer = [column[rows] for column in arrivals.is_answer]
        # The key of what can be accepted; NEVER_KEY for what is not an answer.
        self.answer = [
            np.where(a, k, NEVER_KEY) for a, k in zip(self.is_answer, self.key, strict=True)
        ]
        self.deadline_us = np.minimum(arrivals.wait_us[rows], limit_us)
        self.left_out = None if arrivals.left_out is None else arrivals.left_out[:, rows]
        self.judged = judged[rows]
        """The key of the first report of a judge that the data is invalid; NEVER_KEY without."""
        self.now_us = np.zeros(len(self.rows), np.int64)
        self.seen = np.zeros(len(self.rows), np.int64)
        """Everything with a smaller key has been read."""

    def keep(self, stays: Bools) -> None:
        if stays.all():
            return
        self.rows, self.deadline_us = self.rows[stays], self.deadline_us[stays]
        self.now_us, self.seen = self.now_us[stays], self.seen[stays]
        self.judged = self.judged[stays]
        if self.left_out is not None:
            self.left_out = self.left_out[:, stays]
        for columns in (self.key, self.is_answer, self.answer):
            columns[:] = [column[stays] for column in columns]


class _Rule:
    """One schedule for one set of models."""

    def __init__(self, plan: Plan, arrivals: Arrivals) -> None:
        self.plan = plan
        self._arrivals = arrivals
        self._steps = [_Step(step, arrivals) for step in plan.steps]
        self._judged = _judged_at(plan, arrivals)

    def decide(self, rows: slice, out: Decided) -> None:
        # A step's own end may be later than the schedule's last: `wait_ns` bounds them all.
        left = _Open(self._arrivals, rows, self.plan.wait_ns // 1000, self._judged)
        expired = left.deadline_us <= 0
        if expired.any():
            left.keep(~expired)
        for step in self._steps:
            if not len(left.rows):
                return
            self._take(step, left, out)
        out.at_us[left.rows] = left.now_us

    def _take(self, step: _Step, left: _Open, out: Decided) -> None:
        end_us = np.minimum(step.end_us, left.deadline_us)
        if step.is_single:
            won, at_key, ended = step.single(left, end_us << KEY_BITS)
        else:
            won, at_key, ended = step.several(left, end_us << KEY_BITS)
        won, judged = self._take_judged(left, won, at_key, ended, end_us << KEY_BITS, out)
        if won.any():
            self._note(step, left, won, at_key, out)
        # Requests not won: the step ended early at the key `ended`, or its time was over.
        is_early = ended < NEVER_KEY
        left.seen = np.maximum(left.seen, np.where(is_early, ended + 1, end_us << KEY_BITS))
        left.now_us = np.maximum(left.now_us, np.where(is_early, ended >> KEY_BITS, end_us))
        left.keep(~won & ~judged)

    def _take_judged(
        self, left: _Open, won: Bools, at_key: Keys, ended: Keys, end_key: Keys, out: Decided
    ) -> tuple[Bools, Bools]:
        """Give the default where a judge ends the decision; return what is still won, and those."""
        if not self.plan.input_judges:
            return won, np.zeros(len(won), bool)
        is_start = at_key < left.seen
        until = np.where(won, np.where(is_start, left.seen - 1, at_key), np.minimum(ended, end_key))
        is_early = ~won & (ended < NEVER_KEY)
        judged = (left.judged < left.seen) | (left.judged < until)
        judged |= is_early & (left.judged == ended)
        judged &= (left.judged < left.seen) | (left.judged < end_key)
        rows = left.rows[judged]
        at_us = np.where(left.judged < left.seen, left.now_us, left.judged >> KEY_BITS)
        out.at_us[rows] = at_us[judged]
        return won & ~judged, judged

    def _firsts(self, left: _Open, won: Bools) -> tuple[Bools, Keys]:
        """Return for the won rows which models (m, n) are the first choice, and in which step."""
        names = self._arrivals.models
        count = int(won.sum())
        given = np.zeros((len(names), 1), bool) if left.left_out is None else left.left_out[:, won]
        patterns, which = np.unique(given, axis=1, return_inverse=True)
        if left.left_out is None:
            which = np.zeros(count, np.int64)
        steps = np.zeros(patterns.shape[1], np.int64)
        is_first = np.zeros(patterns.shape, bool)
        for number in range(patterns.shape[1]):
            out = {name for name, gone in zip(names, patterns[:, number], strict=True) if gone}
            steps[number], rank = self.plan.first_choice(out)
            step = self.plan.steps[steps[number] - 1]
            is_first[:, number] = [step.rank(name) == rank for name in names]
        which = which.reshape(-1)
        return is_first[:, which], steps[which]

    def _note(self, step: _Step, left: _Open, won: Bools, at_key: Keys, out: Decided) -> None:
        """Write decisions. `at_key` is the deciding report; below `seen`, it was at the start."""
        rows = left.rows[won]
        is_start = at_key < left.seen
        out.at_us[rows] = np.where(is_start, left.now_us, at_key >> KEY_BITS)[won]
        out.step[rows] = step.number
        until = np.maximum(left.seen, at_key + 1)
        model = step.best(left, until)[won]
        out.model[rows] = model
        is_first, first_step = self._firsts(left, won)
        if step.combine:
            out.is_combined[rows] = True
            out.kind[rows] = np.where(first_step == step.number, PREFERRED, FALLBACK)
            assert out.winners is not None
            for number, _ in step.ranked:
                out.winners[number, rows] = (left.answer[number] < until)[won]
        else:
            chosen = is_first[model, np.arange(len(rows))]
            out.kind[rows] = np.where(chosen, PREFERRED, FALLBACK)


def _judged_at(plan: Plan, arrivals: Arrivals) -> Keys:
    """Return the key of the first report of a judge that the data is invalid, for each request."""
    at = np.full(len(arrivals), NEVER_KEY)
    if arrivals.is_bad_input is not None:
        for number, model in enumerate(arrivals.models):
            if model in plan.input_judges:
                said = arrivals.is_bad_input[number]
                at = np.where(said, np.minimum(at, arrivals.key[number]), at)
    return at


class _Step:
    """One step for these models, as numbers."""

    def __init__(self, step: PlanStep, arrivals: Arrivals) -> None:
        models = arrivals.models
        self.number, self.end_us = step.number, step.end_ns // 1000
        self.is_single = step.is_single
        self.combine = step.combine != "best"
        ranks = [(number, step.rank(model)) for number, model in enumerate(models)]
        self.ranked = sorted(
            ((n, rank) for n, rank in ranks if rank != NOT_ACCEPTED), key=lambda item: item[1]
        )
        """(model, rank) of the models that the step accepts, the best first."""
        known = set(models)
        self._unknown = [name for name in step.names if name not in known]
        named = {number for number, model in enumerate(models) if model in step.ranks}
        live = set(np.flatnonzero(arrivals.is_live).tolist()) if step.accepts_others else set()
        self._expected = sorted(named | live)
        """Models that the step expects, whether or not they report."""
        dead = set(np.flatnonzero(arrivals.is_dead).tolist())
        self._pending = [number for number in self._expected if number not in dead]
        self._others = (
            [number for number in range(len(models)) if number not in named | live]
            if step.accepts_others
            else []
        )
        """Models that count as soon as they have reported."""
        none_known = not arrivals.is_live.any() and not arrivals.is_dead.any()
        self._never_hopeless = step.accepts_others and none_known
        base = len(self._expected) + len(self._unknown)
        counts = range(base, base + len(self._others) + 1)
        self._needed = np.array([step.needed(count) for count in counts], np.int64)

    def single(self, left: _Open, end_key: Keys) -> tuple[Bools, Keys, Keys]:
        """Return which requests are won, by which report, and which report ended the step in vain.

        The first accepted answer wins, unless there are answers already (`best` then ranks).
        """
        nothing = np.full(len(left.rows), NEVER_KEY)
        first = nothing
        for number, _ in self.ranked:
            first = np.minimum(first, left.answer[number])
        last = nothing
        if not (self._unknown or self._never_hopeless):
            last = np.full(len(left.rows), -1)
            for number in self._pending:
                last = np.maximum(last, left.key[number])
        won = (first < left.seen) | ((first <= last) & (first < end_key))
        in_vain = ~won & ((last < end_key) | (last < left.seen))
        return won, first, np.where(in_vain, last, NEVER_KEY)

    def several(self, left: _Open, end_key: Keys) -> tuple[Bools, Keys, Keys]:
        """Do what `single` does, for a step that needs several answers: every report is checked."""
        start = left.seen - 1
        wins, fails = self._look(left, left.seen)
        won_at = np.where(wins, start, NEVER_KEY)
        failed_at = np.where(fails & ~wins, start, NEVER_KEY)
        settled = wins | fails
        for key in left.key:
            wins, fails = self._look(left, key + 1)
            there = (key >= left.seen) & (key < end_key) & ~settled
            won_at = np.where(there & wins, np.minimum(won_at, key), won_at)
            failed_at = np.where(there & fails & ~wins, np.minimum(failed_at, key), failed_at)
        won = (won_at < NEVER_KEY) & (won_at <= failed_at)
        in_vain = ~won & (failed_at < NEVER_KEY)
        return won, won_at, np.where(in_vain, failed_at, NEVER_KEY)

    def _look(self, left: _Open, until: Keys) -> tuple[Bools, Bools]:
        """Return whether there are enough answers at an instant, and whether there cannot be."""
        answers = np.zeros(len(left.rows), np.int64)
        for number, _ in self.ranked:
            answers += left.answer[number] < until
        extra = np.zeros(len(left.rows), np.int64)
        for number in self._others:
            extra += left.key[number] < until
        needed = self._needed[extra]
        wins = (answers >= needed) & (answers > 0)
        if self._unknown or self._never_hopeless:
            possible = answers + (len(self._unknown) if not self._never_hopeless else 2**30)
        else:
            possible = answers
        for number in self._pending:
            possible = possible + (left.key[number] >= until)
        return wins, possible < needed

    def best(self, left: _Open, until: Keys) -> npt.NDArray[Any]:
        """Return the best-ranked of the answers before an instant; of equal rank, the earliest."""
        model = np.full(len(left.rows), NO_MODEL, np.int16)
        rank = np.full(len(left.rows), NOT_ACCEPTED)
        at = np.full(len(left.rows), NEVER_KEY)
        for number, own in self.ranked:
            key = left.answer[number]
            better = (key < until) & ((own < rank) | ((own == rank) & (key < at)))
            model = np.where(better, np.int16(number), model)
            rank, at = np.where(better, own, rank), np.where(better, key, at)
        return model
