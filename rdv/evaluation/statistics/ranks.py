"""Compute ranks of values among themselves."""

from __future__ import annotations

import numpy as np

from rdv.evaluation.statistics.sample import FloatArray


def mid_ranks(values: FloatArray) -> FloatArray:
    """Return ranks, 1 for the smallest, n for the largest; equal values share the mean of their
    ranks.
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: FloatArray = (last - (counts - 1) / 2)[place]
    return ranks
