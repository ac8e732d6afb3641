"""A metric is a value for each request, of the answer given or of one that could have been
given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.evaluation.joined import DEFAULT, NO_RESULT, Joined
from rdv.evaluation.outcomes import Outcomes
from rdv.evaluation.values import Extract, judge
from rdv.evaluation.whatif.answers import values_of
from rdv.evaluation.whatif.decide import Decided
from rdv.schedule import Schedule

RIGHT, DEFAULTS, WAITED = "right", "default", "waited_ms"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """The metric of an experiment, by its name.

    `right`: the answer was right; `default`: it was the default; `waited_ms`: the wait; any other
    name: the number in that field of the outcome.
    """

    name: str
    extract: Extract
    outcomes: Outcomes

    @property
    def is_share(self) -> bool:
        """Whether values are 0 or 1."""
        return self.name in (RIGHT, DEFAULTS)

    @property
    def is_of_answers(self) -> bool:
        """Whether the metric is known for answers that were not given, so that requests can be
        paired.
        """
        return self.name in (RIGHT, DEFAULTS, WAITED)

    @property
    def needs_truth(self) -> bool:
        return self.name not in (DEFAULTS, WAITED)

    def truths(self, joined: Joined) -> Floats:
        """Return the value of each outcome, (n,); NaN where it is not known."""
        if not len(self.outcomes):
            return np.full(len(joined), np.nan)
        if self.name == RIGHT or not self.needs_truth:
            return self.outcomes.of(joined, self.extract)
        return self.outcomes.of(joined, _Field(self.name))

    def told(self, joined: Joined, truths: Floats) -> Floats:
        """Return the metric of the answers that were given, (n,); NaN without an answer."""
        answered = joined.kind != NO_RESULT
        if self.name == DEFAULTS:
            return np.asarray(np.where(answered, joined.kind == DEFAULT, np.nan), np.float64)
        if self.name == WAITED:
            return joined.waited_ms
        if self.name == RIGHT:
            assert joined.told is not None
            right = judge(joined.told, truths, is_number=bool(self.extract.is_number))
            return np.asarray(np.where(answered, right, np.nan), np.float64)
        return np.asarray(np.where(answered, truths, np.nan), np.float64)

    def decided(
        self, joined: Joined, decided: Decided, schedule: Schedule, truths: Floats
    ) -> Floats:
        """Return the metric of the answers that the schedule would have given, (n,); see
        `is_of_answers`.
        """
        if self.name == DEFAULTS:
            return np.asarray(decided.kind == DEFAULT, np.float64)
        if self.name == WAITED:
            return decided.at_us.astype(np.float64) / 1000
        values = values_of(joined, decided, schedule, self.extract)
        return judge(values, truths, is_number=bool(self.extract.is_number))


class _Field(Extract):
    """Extracts the number in a field of an outcome; a yes is 1."""

    def of_truth(self, truth: Any) -> float:
        value = truth.get(self.on) if isinstance(truth, dict) else None
        if not isinstance(value, int | float):
            return math.nan
        return float(value) if math.isfinite(value) else math.nan
