"""Compute the population stability index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics.distributions import chi_square_quantile
from rdv.evaluation.statistics.errors import InvalidSample
from rdv.evaluation.statistics.sample import check_share

ERROR_RATE = 0.001
_SMOOTHING = 0.5  # added to every bin, so that an empty one does not make the index infinite


@dataclass(frozen=True, slots=True)
class Psi:
    """`value` is 0 for the same distribution; below `by_chance` it may be due to chance alone."""

    value: float
    by_chance: float

    @property
    def significant(self) -> bool:
        return self.value > self.by_chance


def psi(reference: npt.ArrayLike, window: npt.ArrayLike, *, error_rate: float = ERROR_RATE) -> Psi:
    """Compute the index from counts in the same bins (or of the same classes) in reference and
    window.

    It is the sum of (q - p) log(q / p): Siddiqi, *Credit Risk Scorecards* (2006). Without a change
    it is about (1/n + 1/m) · chi-square with bins - 1 degrees of freedom (Yurdakul & Naranjo,
    *Statistical properties of the population stability index*, 2020), of which `by_chance` is the 1
    - error_rate quantile. Raises InvalidSample.
    """
    check_share("error_rate", error_rate)
    before, after = np.asarray(reference, np.float64), np.asarray(window, np.float64)
    if before.shape != after.shape or before.ndim != 1:
        raise InvalidSample("counts", "must be of the same bins")
    used = before + after > 0
    before, after = before[used], after[used]
    if not (before.sum() > 0 and after.sum() > 0):
        raise InvalidSample("counts", "reference and window both need at least one value")
    if len(before) == 1:
        return Psi(0.0, 0.0)
    p = (before + _SMOOTHING) / (before + _SMOOTHING).sum()
    q = (after + _SMOOTHING) / (after + _SMOOTHING).sum()
    value = float(np.sum((q - p) * np.log(q / p)))
    scale = 1 / before.sum() + 1 / after.sum()
    return Psi(value, float(scale) * chi_square_quantile(1 - error_rate, len(before) - 1))
