"""Find what has become more or less frequent, in a way that is valid for small counts.

Dunning, *Accurate methods for the statistics of surprise and coincidence*, Computational
Linguistics 19 (1993): the log-likelihood ratio (G²) and its signed root, which can be read as
standard deviations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.distributions import chi_square_sf
from rdv.analysis.statistics.sample import FloatArray, InvalidSample


@dataclass(frozen=True, slots=True)
class GTest:
    """`statistic` is G², about chi-square with `freedom` if nothing has changed."""

    statistic: float
    freedom: int
    p_value: float


def g_test(table: npt.ArrayLike) -> GTest:
    """Test whether the rows of a table of counts have the same mix of columns. Raises
    InvalidSample.
    """
    counts = _counts(table, dimensions=2)
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    freedom = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    if freedom < 1:
        return GTest(0.0, 0, 1.0)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    statistic = max(0.0, 2 * float(np.sum(_k_log(counts, expected))))
    return GTest(statistic, freedom, chi_square_sf(statistic, freedom))


def root_llr(counts: npt.ArrayLike, others: npt.ArrayLike) -> FloatArray:
    """Return, for each category, how surprising its count is relative to its count elsewhere.

    `counts[i]` and `others[i]` are of the same category, here and in the reference; each is
    compared, two by two, with all other categories. Positive: more frequent here.
    """
    here, there = _counts(counts, dimensions=1), _counts(others, dimensions=1)
    if here.shape != there.shape:
        raise InvalidSample("others", "must have one count for each category")
    rest_here, rest_there = here.sum() - here, there.sum() - there
    total = here.sum() + there.sum()
    if total == 0:
        return np.zeros(len(here))
    category, rest = here + there, rest_here + rest_there
    g2 = np.zeros(len(here))
    for cell, row, column in (
        (here, here.sum(), category),
        (rest_here, here.sum(), rest),
        (there, there.sum(), category),
        (rest_there, there.sum(), rest),
    ):
        g2 += 2 * _k_log(cell, row * column / total)
    sign = np.sign(here * there.sum() - there * here.sum())
    roots: FloatArray = sign * np.sqrt(np.maximum(g2, 0))
    return roots


def root_llr_of_rates(
    counts: npt.ArrayLike, exposures: npt.ArrayLike, count: float, exposure: float
) -> FloatArray:
    """Return how surprising each count of events in its exposure (time) is relative to a
    reference's.

    Both are assumed to be Poisson; that the reference's rate is itself an estimate is accounted
    for. Positive: more events than expected.
    """
    here, time_here = _counts(counts, dimensions=1), np.asarray(exposures, dtype=np.float64)
    if not (exposure > 0 and bool(np.all(time_here > 0))):
        raise InvalidSample("exposure", "must be above 0")
    rate = (here + count) / (time_here + exposure)
    g2 = 2 * (_k_log(here, rate * time_here) + _k_log(np.full_like(here, count), rate * exposure))
    sign = np.sign(here / time_here - count / exposure)
    return sign * np.sqrt(np.maximum(g2, 0))


def _k_log(counts: FloatArray, expected: FloatArray) -> FloatArray:
    """Return counts × log(counts / expected), 0 for empty counts."""
    filled = counts > 0
    ratio = np.divide(counts, expected, out=np.ones_like(counts), where=filled)
    return counts * np.log(ratio)


def _counts(values: npt.ArrayLike, *, dimensions: int) -> FloatArray:
    counts = np.asarray(values, dtype=np.float64)
    if counts.ndim != dimensions or not bool(np.all(np.isfinite(counts) & (counts >= 0))):
        raise InvalidSample("counts", f"must be counts, in {dimensions} dimension(s)")
    return counts
