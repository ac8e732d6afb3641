"""Metrics of ranked lists: NDCG, hit rate, precision, reciprocal rank.

Ties are handled as scikit-learn does: for NDCG, items with equal scores share the mean of their
gains over their places (McSherry & Najork, ECIR 2008); for the others, of equal scores the later
item comes first (`top_k_accuracy_score`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rdv.analysis.metrics.mean import mean_of
from rdv.analysis.metrics.metric import Measured
from rdv.analysis.metrics.ragged import Lists
from rdv.analysis.metrics.sample import Sample
from rdv.analysis.statistics.sample import BoolArray, FloatArray, IntArray

NOTHING_RIGHT = "no request has an item with a gain"


def ndcg_at(k: int) -> Callable[[Sample], Measured | str]:
    """Return the measure of NDCG@k: Järvelin & Kekäläinen, ACM TOIS 20 (2002), base 2."""

    def measure(sample: Sample) -> Measured | str:
        scores, gains = _lists(sample)
        best = _gained(gains, gains, k)
        if not bool(np.any(best > 0)):
            return NOTHING_RIGHT
        found = _gained(scores, gains, k)
        rows = np.divide(found, best, out=np.zeros(len(best)), where=best > 0)
        return mean_of(sample, np.minimum(rows, 1.0))

    return measure


def hit_rate_at(k: int) -> Callable[[Sample], Measured | str]:
    """Return the measure of the share of requests with a right item in the first k places."""

    def measure(sample: Sample) -> Measured | str:
        scores, gains = _lists(sample)
        if not bool(np.any(gains.numbers > 0)):
            return NOTHING_RIGHT
        hits = np.bincount(_hits(scores, gains, k)[0], minlength=len(scores))
        return mean_of(sample, (hits > 0).astype(np.float64))

    return measure


def list_precision_at(k: int) -> Callable[[Sample], Measured | str]:
    """Return the measure of the share of the first k places that are right; an empty place is not.

    Manning, Raghavan & Schütze, *Introduction to Information Retrieval* (2008), 8.4.
    """

    def measure(sample: Sample) -> Measured | str:
        scores, gains = _lists(sample)
        if not bool(np.any(gains.numbers > 0)):
            return NOTHING_RIGHT
        hits = np.bincount(_hits(scores, gains, k)[0], minlength=len(scores))
        return mean_of(sample, hits / k)

    return measure


def mrr_at(k: int) -> Callable[[Sample], Measured | str]:
    """Return the measure of the mean reciprocal rank of the first right item: 0 beyond place k.

    Voorhees, *The TREC-8 question answering track report* (1999).
    """

    def measure(sample: Sample) -> Measured | str:
        scores, gains = _lists(sample)
        if not bool(np.any(gains.numbers > 0)):
            return NOTHING_RIGHT
        request, place = _hits(scores, gains, k)
        rows = np.zeros(len(scores))
        np.maximum.at(rows, request, 1 / (place + 1))
        return mean_of(sample, rows)

    return measure


def _hits(scores: Lists, gains: Lists, k: int) -> tuple[IntArray, IntArray]:
    """Return the request and the place of each right item among the first k."""
    request, place = scores.requests, scores.places
    order = np.lexsort((-place, -scores.numbers, request))
    is_hit = (place < k) & (gains.numbers[order] > 0) & ~np.isnan(scores.numbers[order])
    return request[is_hit], place[is_hit]


def _lists(sample: Sample) -> tuple[Lists, Lists]:
    assert sample.lists is not None
    return sample.lists


def _gained(scores: Lists, gains: Lists, k: int) -> FloatArray:
    """Return each request's discounted gain of the first k places, ordered by score."""
    request, place = scores.requests, scores.places
    order = np.lexsort((-scores.numbers, request))  # NaN comes last
    score, gain = scores.numbers[order], gains.numbers[order]
    discount = np.where(place < k, 1 / np.log2(place + 2), 0.0)
    discount[np.isnan(score)] = 0.0
    if not len(score):
        return np.zeros(len(scores))
    begins: BoolArray = np.append(True, (score[1:] != score[:-1]) | (request[1:] != request[:-1]))
    tie = np.cumsum(begins) - 1
    shared = np.bincount(tie, gain) / np.bincount(tie) * np.bincount(tie, discount)
    return np.bincount(request[begins], shared, len(scores)).astype(np.float64)
