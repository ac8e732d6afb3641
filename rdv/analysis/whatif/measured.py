"""Measure the recorded answers and those of another schedule, on the same requests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import NO_RESULT, RESULT, Joined, Names
from rdv.analysis.dataset.keys import hashed_keys
from rdv.analysis.dataset.outcomes import Outcomes
from rdv.analysis.dataset.values import KnownTruths
from rdv.analysis.measure import Kept, Measure, Rate, contrast_of
from rdv.analysis.measure.contrast import contrast_of_shares
from rdv.analysis.whatif.result import WhatIf

NAMES = ("what_if", "recorded")
KEPT_MAX = 1_000_000
"""The maximum number of requests that are measured, at about 70 bytes each."""
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class MeasuredSides:
    """Collects what both sides answered to requests, batch by batch. One thread at a time."""

    def __init__(self, measure: Measure, outcomes: Outcomes) -> None:
        self._measure, self._outcomes = measure, outcomes
        self._truths = KnownTruths(measure.extract)
        self._models = Names()
        self._with_results: set[str] = set()
        self._with_values: set[str] = set()
        self._attained, self._answers = Kept(KEPT_MAX), Kept(KEPT_MAX)
        self._rate = Rate()

    def add_attained(self, joined: Joined, new: Bools, recorded: Bools) -> None:
        """Add which requests a model answers within the SLA."""
        self._rate.add(joined.append_ns)
        self._attained.add(new, recorded, hashed_keys(joined))

    def add(self, joined: Joined, names: Sequence[str | None], values: Floats) -> Floats:
        """Add who answers what by the new schedule; return the truths, NaN where unknown."""
        if not len(self._outcomes):
            return np.full(len(joined), np.nan)
        measure, extract = self._measure, self._measure.extract
        truths = self._outcomes.of(joined, extract)
        self._truths.add(truths)
        assert joined.given is not None
        assert joined.value is not None
        for model, outcome, own in zip(joined.models, joined.outcome, joined.value, strict=True):
            if (outcome == RESULT).any():
                self._with_results.add(model)
            if not np.isnan(own).all():
                self._with_values.add(model)
        rows = np.flatnonzero(~np.isnan(truths) & (joined.kind != NO_RESULT))
        points = [measure.points(joined, one, truths)[rows] for one in (values, joined.given)]
        right = [extract.judge(one, truths)[rows] for one in (values, joined.given)]
        who = self._models.coded(names).codes[rows], joined.model.recoded(self._models)[rows]
        self._answers.add(*points, truths[rows], hashed_keys(joined)[rows], *right, *who)
        return truths

    def finish(self, found: WhatIf) -> None:
        """Write the contrasts into the result, and the shares of right answers of both sides."""
        if columns := self._attained.columns():
            found.attained = contrast_of_shares(
                "share answered by a model within the SLA", NAMES, *columns, of="requests"
            )
        found.reading = self._measure.extract.reading.sentence()
        if not len(self._outcomes):
            return
        lacking = self._with_results - self._with_values
        problem = self._truths.problem
        columns = self._answers.columns()
        if not columns:
            found.drop_judgement(problem)
            return
        count = len(columns[0])
        kept = self._without(lacking, columns[-2]) & self._without(lacking, columns[-1])
        if lacking and not kept.all():
            found.lacking = tuple(sorted(lacking))
            columns = tuple(column[kept] for column in columns)
        if count and not len(columns[0]) and not problem:
            problem = f"{', '.join(found.lacking)} never answers with what is judged"
        new, old, truths, keys, new_right, old_right, _, _ = columns
        found.metric = contrast_of(
            self._measure,
            NAMES,
            (new, old),
            truths,
            keys,
            problem=problem,
            per_day=self._rate.per_day,
            thinned=self._answers.stride,
        )
        is_judged = not problem and not np.isnan(new_right).all()
        if not is_judged:
            found.drop_judgement(problem)
            return
        found.right = contrast_of_shares("right answers", NAMES, new_right, old_right, keys)
        found.base_rate = self._truths.base_rate()
        for side, right in ((found.new, new_right), (found.recorded, old_right)):
            side.judge(right)

    def _without(self, lacking: set[str], codes: npt.NDArray[np.int32]) -> Bools:
        """Return where no such model has a part in the answer."""
        bad = [n for n, name in enumerate(self._models.names()) if lacking & set(name.split("+"))]
        return ~np.isin(codes, bad)
