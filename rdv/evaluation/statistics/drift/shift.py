"""Compute how far each quantile has moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics.digest import Digest
from rdv.evaluation.statistics.normalisation import quantiles_of
from rdv.evaluation.statistics.sample import as_sample

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class QuantileShift:
    """The quantile at `level` was `before` and is `after`.

    `spreads` is the shift in widths of the reference's middle half; None if that is 0.
    """

    level: float
    before: float
    after: float
    spreads: float | None


def quantile_shifts(
    reference: npt.ArrayLike | Digest,
    window: npt.ArrayLike | Digest,
    levels: Sequence[float] = LEVELS,
) -> tuple[QuantileShift, ...]:
    """Return the shift at each level. Raises InvalidSample."""
    asked = as_sample("levels", np.asarray(levels, np.float64))
    before, after = quantiles_of(reference, asked), quantiles_of(window, asked)
    quarter, three_quarters = quantiles_of(reference, np.array([0.25, 0.75]))
    spread = float(three_quarters - quarter)
    return tuple(
        QuantileShift(level, was, now, (now - was) / spread if spread > 0 else None)
        for level, was, now in zip(asked.tolist(), before.tolist(), after.tolist(), strict=True)
    )
