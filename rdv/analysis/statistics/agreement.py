"""Agreement of two models on the same requests, and those on which they differ most.

Classes: Cohen's kappa, its interval by Fleiss, Cohen & Everitt (1969). Scores: rank correlation,
its interval by Bonett & Wright (2000).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.distributions import two_sided_z
from rdv.analysis.statistics.interval import Interval
from rdv.analysis.statistics.normalisation import Normaliser
from rdv.analysis.statistics.proportion import wilson
from rdv.analysis.statistics.sample import (
    FloatArray,
    IntArray,
    InvalidSample,
    as_pair,
    check_count,
    check_share,
    mid_ranks,
    same_length,
)

CLASSES_MAX = 1000


@dataclass(frozen=True, slots=True, eq=False)
class ClassAgreement:
    """`table[i, j]` counts requests that the first calls `classes[i]`, and the second `classes[j]`.

    `kappa` is the part of the agreement `rate` that is beyond chance: 1 always, 0 as by chance.
    """

    requests: int
    rate: Interval
    kappa: Interval
    classes: tuple[Any, ...]
    table: IntArray


@dataclass(frozen=True, slots=True)
class ScoreAgreement:
    """`correlation` is of ranks (Spearman), so scales do not matter.

    `mean_difference` is the mean distance of the ranks, 0 (same order) to 0.5 (reversed); 1/3 for
    independent models. `overlap` is the share of the first's `top` highest requests that are among
    the second's.
    """

    requests: int
    correlation: Interval
    mean_difference: float
    top: float
    overlap: Interval


_ROUNDING = 1e-15


def agreement_of_classes(
    first: npt.ArrayLike, second: npt.ArrayLike, confidence: float = 0.95
) -> ClassAgreement:
    """Return the agreement of classes (strings, integers, booleans), paired by request.

    Interval of kappa: Fleiss, Cohen & Everitt (1969), for many requests. Raises InvalidSample.
    """
    check_share("confidence", confidence)
    a, b = np.asarray(first), np.asarray(second)
    same_length(a, b)
    if a.ndim != 1 or not len(a):
        raise InvalidSample("classes", "needs a flat list of at least one request")
    classes, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
    kinds = len(classes)
    if kinds > CLASSES_MAX:
        raise InvalidSample("classes", f"{kinds} different ones; at most {CLASSES_MAX}")
    cells = codes[: len(a)] * kinds + codes[len(a) :]
    table = np.bincount(cells, minlength=kinds * kinds).reshape(kinds, kinds).astype(np.int64)
    return agreement_of_table(tuple(classes.tolist()), table, confidence)


def agreement_of_table(
    classes: tuple[Any, ...], table: IntArray, confidence: float = 0.95
) -> ClassAgreement:
    """Return what `agreement_of_classes` does, from counts: tables can be added up first."""
    check_share("confidence", confidence)
    count = int(table.sum())
    if table.shape != (len(classes), len(classes)) or not count:
        raise InvalidSample("table", "needs a row and a column for each class, and some requests")
    rate = wilson(int(np.trace(table)), count, confidence)
    return ClassAgreement(count, rate, _kappa(table / count, count, confidence), classes, table)


def agreement_of_scores(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    confidence: float = 0.95,
    top: float = 0.05,
) -> ScoreAgreement:
    """Return the agreement of answers that are numbers, paired by request; scales may differ.

    Its interval is Bonett & Wright (2000). Raises InvalidSample for fewer than 4 requests.
    """
    check_share("confidence", confidence)
    check_share("top", top)
    a, b = as_pair(first, second, at_least=4)
    ranks_a, ranks_b = mid_ranks(a), mid_ranks(b)
    count = len(a)
    highest = max(1, round(top * count))
    shared = np.intersect1d(_top(ranks_a, highest), _top(ranks_b, highest))
    return ScoreAgreement(
        count,
        _spearman(ranks_a, ranks_b, confidence),
        float(np.mean(np.abs(ranks_a - ranks_b))) / count,
        top,
        wilson(len(shared), highest, confidence),
    )


def _top(ranks: FloatArray, highest: int) -> npt.NDArray[np.intp]:
    """Return the rows of the highest; of equal ones the earlier, so that both models agree."""
    return np.argsort(-ranks, kind="stable")[:highest]


def _spearman(ranks_a: FloatArray, ranks_b: FloatArray, confidence: float) -> Interval:
    a, b = ranks_a - ranks_a.mean(), ranks_b - ranks_b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    method = "Spearman, Bonett-Wright"
    if scale == 0:  # one of them is constant: no order to compare
        return Interval(math.nan, -1.0, 1.0, confidence, method)
    rho = min(1.0, max(-1.0, float(a @ b) / scale))
    half = two_sided_z(confidence) * math.sqrt((1 + rho * rho / 2) / (len(a) - 3))
    # A perfect order is no certainty: it reaches as far as if a pair were out of order.
    nearest = 1 - 1 / len(a)
    z = math.atanh(min(nearest, max(-nearest, rho)))
    if abs(rho) > nearest:
        ends = (math.tanh(z - half), 1.0) if rho > 0 else (-1.0, math.tanh(z + half))
        return Interval(rho, *ends, confidence, method)
    return Interval(rho, math.tanh(z - half), math.tanh(z + half), confidence, method)


def _kappa(shares: FloatArray, count: int, confidence: float) -> Interval:
    method = "Cohen's kappa, Fleiss-Cohen-Everitt"
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    agreed, chance = float(np.trace(shares)), float(rows @ columns)
    if chance >= 1:  # both always give the same class
        return Interval(math.nan, -1.0, 1.0, confidence, method)
    kappa = (agreed - chance) / (1 - chance)
    diagonal = np.diag(shares)
    either = rows[None, :] + columns[:, None]
    on = float(np.sum(diagonal * (1 - np.diag(either) * (1 - kappa)) ** 2))
    off = (1 - kappa) ** 2 * float(
        np.sum(shares * either**2) - np.sum(diagonal * np.diag(either) ** 2)
    )
    rest = (kappa - chance * (1 - kappa)) ** 2
    variance = max(0.0, on + off - rest) / ((1 - chance) ** 2 * count)
    if variance <= _ROUNDING:  # all agree, or one is constant: as sure as the rate is
        rate = wilson(round(agreed * count), count, confidence)
        ends = ((one - chance) / (1 - chance) for one in (rate.low, rate.high))
        low, high = (max(-1.0, min(1.0, one)) for one in ends)
        return Interval(kappa, min(low, kappa), max(high, kappa), confidence, method)
    half = two_sided_z(confidence) * math.sqrt(variance)
    return Interval(kappa, max(-1.0, kappa - half), min(1.0, kappa + half), confidence, method)


@dataclass(frozen=True, slots=True, eq=False)
class Disagreement:
    """Rows of the given arrays, worst first, and the ranks (0 to 1) that each model gives.

    `difference` is first minus second: positive where the first ranks the request higher.
    """

    rows: IntArray
    first_ranks: FloatArray
    second_ranks: FloatArray

    @property
    def difference(self) -> FloatArray:
        return self.first_ranks - self.second_ranks


def most_disagreeing(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    count: int = 100,
    *,
    normalisers: tuple[Normaliser, Normaliser] | None = None,
) -> Disagreement:
    """Return the `count` requests with the largest distance of ranks after quantile normalisation.

    Equal distances keep the order of the requests. Give `normalisers` (made from the whole log) if
    the arrays are one chunk of many; then the worst of all chunks are among the chunks' worst.
    Raises InvalidSample.
    """
    check_count("count", count)
    a, b = as_pair(first, second)
    source_a, source_b = normalisers or (Normaliser.of(a), Normaliser.of(b))
    ranks_a, ranks_b = source_a.ranks(a), source_b.ranks(b)
    worst = np.argsort(-np.abs(ranks_a - ranks_b), kind="stable")[:count].astype(np.int64)
    return Disagreement(worst, ranks_a[worst], ranks_b[worst])
