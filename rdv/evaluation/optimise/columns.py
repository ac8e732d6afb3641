"""A search needs the arrivals of each request, and whether each model's answer is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.evaluation.coded import NONE
from rdv.evaluation.join import Join
from rdv.evaluation.notes import Notes
from rdv.evaluation.outcomes import Outcomes, read_outcomes
from rdv.evaluation.places import Recorded
from rdv.evaluation.schedules import read_schedules
from rdv.evaluation.values import HALF, Extract, judge
from rdv.evaluation.whatif.arrivals import FOREVER_US, KEY_BITS, NEVER_KEY, Arrivals, arrivals_of
from rdv.evaluation.whatif.plans import own_limits_us, sla_of
from rdv.schedule import Schedule

JUDGED_MIN = 100
"""The minimum number of requests with a known outcome; fewer are not enough to learn from."""
REQUESTS_MAX = 4_000_000
"""The maximum number of requests, at about 50 bytes each; more are thinned out evenly."""

Floats = npt.NDArray[np.float32]


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


def read_columns(
    recorded: Recorded,
    live: Schedule,
    since_ns: int | None,
    until_ns: int | None,
    *,
    on: str | None,
    need_outcomes: bool,
    progress: Callable[[int], None],
) -> Study:
    """Read what is recorded. Raises NothingRecorded, TooManyValues, SystemFaults."""
    extract = Extract(on)
    join = Join(recorded, since_ns, until_ns, extract=extract)
    sla = sla_of(read_schedules(recorded, join.notes))
    outcomes = read_outcomes(recorded, join.notes)
    thinned = max(1, -(-join.request_count // REQUESTS_MAX))
    left_out = 0
    kept: list[tuple[tuple[str, ...], Any, Any, Any, Any]] = []
    for joined in join:
        usual = (joined.asked.codes == NONE) & (own_limits_us(joined, sla) == FOREVER_US)
        left_out += int((~usual).sum())
        rows = np.flatnonzero(usual)[::thinned]
        truths = outcomes.of(joined, extract)[rows] if len(outcomes) else np.empty(0)
        arrivals = arrivals_of(joined)
        assert joined.value is not None
        kept.append(
            (
                joined.models,
                arrivals.key[:, rows],
                arrivals.is_answer[:, rows],
                joined.value[:, rows],
                truths,
            )
        )
        progress(len(joined))
    return _study(kept, extract, outcomes, live, need_outcomes, left_out, thinned, join.notes)


def _study(
    kept: Sequence[tuple[tuple[str, ...], Any, Any, Any, Any]],
    extract: Extract,
    outcomes: Outcomes,
    live: Schedule,
    need_outcomes: bool,
    left_out: int,
    thinned: int,
    notes: Notes,
) -> Study:
    models = tuple(dict.fromkeys(model for part in kept for model in part[0]))
    key = _stacked([(part[0], part[1]) for part in kept], models, NEVER_KEY)
    is_answer = _stacked([(part[0], part[2]) for part in kept], models, fill=False)
    value = _stacked([(part[0], part[3]) for part in kept], models, np.nan)
    count = key.shape[1]
    arrivals = Arrivals(
        models,
        key,
        is_answer,
        np.full(count, FOREVER_US, np.int64),
        np.ones(len(models), bool),
        np.zeros(len(models), bool),
    )
    default = extract.of_answer(live.default)
    is_number = bool(extract.is_number)
    first = live.steps[0].accept[0]
    champion = first if first in models else None
    if len(outcomes):
        truths = np.concatenate([part[4] for part in kept])
        right = _judged(value, truths, default, is_number=is_number)
        if need_outcomes or int((~np.isnan(right[0])).sum()) >= JUDGED_MIN:
            return Study(Columns(arrivals, right), "accuracy", champion, left_out, thinned, notes)
    agreed = np.full(count, np.nan) if champion is None else value[models.index(champion)].copy()
    if is_number:
        agreed = np.where(np.isnan(agreed), np.nan, (agreed >= HALF).astype(np.float64))
    right = _judged(value, agreed, default, is_number=is_number)
    return Study(Columns(arrivals, right), "agreement", champion, left_out, thinned, notes)


def _judged(value: Any, truths: Any, default: float, *, is_number: bool) -> Floats:
    rows = [judge(own, truths, is_number=is_number) for own in value]
    rows.append(judge(np.full(len(truths), default), truths, is_number=is_number))
    return np.stack(rows).astype(np.float32)


def _stacked(parts: list[tuple[tuple[str, ...], Any]], models: tuple[str, ...], fill: Any) -> Any:
    """Concatenate batches, with their models in one order."""
    aligned = []
    for own, column in parts:
        whole = np.full((len(models), column.shape[1]), fill, column.dtype)
        for row, model in enumerate(own):
            whole[models.index(model)] = column[row]
        aligned.append(whole)
    return np.concatenate(aligned, axis=1)


def arrivals_us(arrivals: Arrivals) -> npt.NDArray[np.int64]:
    """Return the arrivals in µs, (m, n); NEVER_US for never."""
    return arrivals.key >> KEY_BITS
