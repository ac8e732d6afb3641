"""Find whether one model's scores have moved from where they were in a reference window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics.drift.bins import BINS, Bins
from rdv.evaluation.statistics.drift.kolmogorov_smirnov import KolmogorovSmirnov, of_sorted
from rdv.evaluation.statistics.drift.psi import ERROR_RATE, Psi, psi
from rdv.evaluation.statistics.drift.shift import QuantileShift, quantile_shifts
from rdv.evaluation.statistics.sample import FloatArray, IntArray, as_sample

COUNT_MIN = 100
"""The minimum number of values in a window for a finding."""
PSI_MOVED = 0.1
"""The index from which scores have moved: the usual convention (0.1 moderate, 0.25 large)."""
PSI_STIRRED = 0.05
"""The index from which scores count as moving along, if another model has moved."""
KS_MOVED = 0.1
"""The same as a distance of distributions: a tenth of the requests on the other side."""
KS_STIRRED = 0.05

State = Literal["too few", "still", "stirred", "moved"]


@dataclass(frozen=True, slots=True)
class Movement:
    """One window of one model against its reference.

    Both indices must be large enough to matter *and* beyond chance (an error rate of 0.001 for
    each): with a million requests everything is significant, with fifty anything is large.
    """

    count: int
    state: State
    psi: Psi
    ks: KolmogorovSmirnov
    shifts: tuple[QuantileShift, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """One model's scores in a good state, prepared for many comparisons."""

    ordered: FloatArray
    bins: Bins
    counts: IntArray

    @classmethod
    def of(cls, scores: npt.ArrayLike, bins: int = BINS) -> Reference:
        """Make a reference from the scores of its window. Raises InvalidSample for fewer than
        100.
        """
        ordered = np.sort(as_sample("reference", scores, at_least=COUNT_MIN))
        made = Bins.of(ordered, bins)
        return cls(ordered, made, made.count(ordered))

    def movement(self, scores: npt.ArrayLike) -> Movement | None:
        """Return how far the scores of another window have moved; None for an empty window."""
        window = np.sort(as_sample("window", scores, at_least=0))
        if not len(window):
            return None
        index = psi(self.counts, self.bins.count(window))
        distance = of_sorted(self.ordered, window)
        return Movement(
            len(window),
            _state(len(window), index, distance),
            index,
            distance,
            quantile_shifts(self.ordered, window),
        )


def _state(count: int, index: Psi, distance: KolmogorovSmirnov) -> State:
    if count < COUNT_MIN:
        return "too few"
    by_psi = index.value if index.significant else 0.0
    by_ks = distance.distance if distance.p_value < ERROR_RATE else 0.0
    if by_psi >= PSI_MOVED or by_ks >= KS_MOVED:
        return "moved"
    return "stirred" if by_psi >= PSI_STIRRED or by_ks >= KS_STIRRED else "still"
