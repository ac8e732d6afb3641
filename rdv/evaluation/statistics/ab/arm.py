"""One cohort's outcomes, as the few numbers that are needed of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics.errors import InvalidSample
from rdv.evaluation.statistics.sample import FloatArray, as_sample, same_length


@dataclass(frozen=True, slots=True)
class Arm:
    """`count` independent units, their mean outcome, and the variance of one unit's outcome.

    A unit is what the split is made of. Cohorts are of *keys*, and requests of one key are
    alike: use `of_keys` wherever keys come back, or the intervals are too narrow.
    `rare` is, when all outcomes are 0 or 1, how many units have had the rarer one.
    """

    name: str
    count: int
    mean: float
    variance: float
    rare: int | None = None

    @classmethod
    def of(cls, name: str, outcomes: npt.ArrayLike) -> Arm:
        """From one outcome of each unit: 0 or 1, or any number. Raises InvalidSample."""
        sample = as_sample(name, _numbers(outcomes), at_least=2)
        ones = int(np.count_nonzero(sample == 1))
        rare = min(ones, len(sample) - ones) if _binary(sample) else None
        return cls(name, len(sample), float(sample.mean()), float(sample.var(ddof=1)), rare)

    @classmethod
    def of_keys(cls, name: str, keys: npt.ArrayLike, outcomes: npt.ArrayLike) -> Arm:
        """From one outcome of each request and the request's key: the mean over requests.

        A ratio of sums over keys; its variance by the delta method (Deng, Knoblich & Lu,
        *Applying the Delta Method in Metric Analytics*, KDD 2018). `count` is of keys. Raises
        InvalidSample.
        """
        sample = as_sample(name, _numbers(outcomes), at_least=2)
        labels: npt.NDArray[Any] = np.asarray(keys)
        same_length(sample, labels)
        _, place = np.unique(labels, return_inverse=True)
        totals, requests = np.bincount(place, weights=sample), np.bincount(place)
        if len(totals) < 2:  # noqa: PLR2004 - a variance needs two
            raise InvalidSample(name, "has outcomes of one key only, needs at least 2")
        mean = float(sample.mean())
        influence: FloatArray = (totals - mean * requests) / requests.mean()
        rare = None
        if _binary(sample):
            rare = min(int(np.sum(totals > 0)), int(np.sum(totals < requests)))
        return cls(name, len(totals), mean, float(influence.var(ddof=1)), rare)

    @property
    def standard_error(self) -> float:
        return math.sqrt(self.variance / self.count)


def _numbers(outcomes: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(outcomes)
    return array.astype(np.float64) if array.dtype == np.bool_ else array


def _binary(sample: FloatArray) -> bool:
    return bool(np.all((sample == 0) | (sample == 1)))
