"""Estimate what a policy would have earned, from the record of another, randomised one. Pure.

A weight is the probability with which the new policy would take the recorded action, over the one
with which the recorded policy took it: inverse propensity, Horvitz & Thompson (JASA 47, 1952). The
mean of the returned values estimates the new policy's value, if the probabilities are right and the
recorded one is positive wherever the new one is.

- Self-normalised: Hájek (1971); the weights' own sum takes away what their number varies by, at
  the price of a bias that is small in large samples.
- Doubly robust: Dudík, Langford & Li (ICML 2011). An expectation of the reward by any model,
  learned from other requests, takes away the variance that it explains, and no error of it adds
  bias.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.sample import FloatArray, InvalidSample, as_sample, same_length


def chance_of_answer(given: FloatArray, other: FloatArray, propensity: FloatArray) -> FloatArray:
    """Return the probability of the answer given, where one of two policies was drawn.

    `propensity` is that of the drawn policy, `other` what the other one would have answered.
    """
    return np.asarray(propensity + (1 - propensity) * (other == given))


def self_normalised(rewards: npt.ArrayLike, weights: npt.ArrayLike) -> FloatArray:
    """Return values whose mean is the weighted mean, and whose spread is that of its error.

    Raises InvalidSample, also if all weights are 0.
    """
    earned, heavy = as_sample("rewards", rewards), as_sample("weights", weights)
    same_length(earned, heavy)
    total = float(heavy.sum())
    if total <= 0:
        raise InvalidSample("weights", "must not all be 0")
    mean = float(heavy @ earned) / total
    return mean + len(heavy) / total * heavy * (earned - mean)


def effective_number(weights: FloatArray) -> float:
    """Return how many equal weights would say as much (Kish 1965)."""
    square = float(weights @ weights)
    return float(weights.sum()) ** 2 / square if square else 0.0


def doubly_robust(
    rewards: npt.ArrayLike,
    weights: npt.ArrayLike,
    expected: npt.ArrayLike,
    expected_of_new: npt.ArrayLike,
) -> FloatArray:
    """Return values whose mean is the doubly robust estimate. Raises InvalidSample.

    `expected` is the reward that a model expects of the action that was taken, `expected_of_new`
    what it expects of the new policy.
    """
    earned, heavy = as_sample("rewards", rewards), as_sample("weights", weights)
    of_old, of_new = as_sample("expected", expected), as_sample("expected_of_new", expected_of_new)
    for column in (heavy, of_old, of_new):
        same_length(earned, column)
    return of_new + heavy * (earned - of_old)


def expected_by_group(
    rewards: FloatArray, weights: FloatArray, groups: FloatArray, folds: npt.NDArray[np.uint64]
) -> FloatArray:
    """Return for each request the weighted mean reward of its group in the other half.

    A request's half is decided by the parity of its fold (a hash of its key), so that no reward is
    expected by itself. Rewards are NaN where they are not known. A group without any in the other
    half gets that half's mean; 0 without any reward at all.
    """
    found = np.zeros(len(rewards))
    known = ~np.isnan(rewards)
    half = (folds % np.uint64(2)).astype(np.int64)
    _, place = np.unique(groups, return_inverse=True)
    count = int(place.max(initial=-1)) + 1
    for own in (0, 1):
        other = known & (half != own)
        total = np.bincount(place[other], weights[other], count)
        earned = np.bincount(place[other], weights[other] * rewards[other], count)
        everywhere = float(earned.sum() / total.sum()) if total.sum() > 0 else 0.0
        mean = np.where(total > 0, earned / np.where(total > 0, total, 1), everywhere)
        found[half == own] = mean[place[half == own]]
    return found
