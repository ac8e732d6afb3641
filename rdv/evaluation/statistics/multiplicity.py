"""Adjust p-values for many tests at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics.errors import InvalidSample
from rdv.evaluation.statistics.sample import FloatArray, as_sample


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values so that the chance of *any* false alarm is bounded: Holm (1979)."""
    p, order = _sorted(p_values)
    count = len(p)
    steps = np.minimum(1, np.maximum.accumulate(p * (count - np.arange(count))))
    return _back(steps, order)


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values so that the *share* of false alarms is bounded: Benjamini & Hochberg
    (1995).
    """
    p, order = _sorted(p_values)
    count = len(p)
    steps = np.minimum(1, np.minimum.accumulate((p * count / np.arange(1, count + 1))[::-1])[::-1])
    return _back(steps, order)


def _sorted(p_values: npt.ArrayLike) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    p = as_sample("p_values", p_values, at_least=0)
    if not bool(np.all((p >= 0) & (p <= 1))):
        raise InvalidSample("p_values", "must be between 0 and 1")
    order = np.argsort(p, kind="stable")
    return p[order], order


def _back(values: FloatArray, order: npt.NDArray[np.intp]) -> FloatArray:
    adjusted = np.empty_like(values)
    adjusted[order] = values
    return adjusted
