"""An arm holds one cohort's outcomes, as the few numbers that are needed of them."""

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

    A unit is what the split is made of. Cohorts are of *keys*, and requests of one key are alike:
    give the keys if they come back, or the intervals are too narrow. `rare` is, if all outcomes are
    0 or 1, how many units have had the rarer one.
    """

    name: str
    count: int
    mean: float
    variance: float
    rare: int | None = None

    @classmethod
    def of(cls, name: str, outcomes: npt.ArrayLike, keys: npt.ArrayLike | None = None) -> Arm:
        """Return an arm of each request's outcome (0 or 1, or any number) and key.

        Without keys every request is a unit of its own. Raises InvalidSample.
        """
        return Units.of(name, outcomes, keys).arm()

    @property
    def standard_error(self) -> float:
        return math.sqrt(self.variance / self.count)


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The mean over requests, and how much each unit pulls it (0 on average).

    The mean over requests of clustered outcomes is a ratio of sums over keys; linearised, its error
    is the mean of `pulls`. That is the delta method: Deng, Knoblich & Lu, *Applying the Delta
    Method in Metric Analytics*, KDD 2018.
    """

    name: str
    mean: float
    pulls: FloatArray
    rare: int | None

    @classmethod
    def of(cls, name: str, outcomes: npt.ArrayLike, keys: npt.ArrayLike | None = None) -> Units:
        """Return units of each request's outcome and key. Raises InvalidSample for fewer than two
        units.
        """
        sample = as_sample(name, _numbers(outcomes), at_least=2)
        mean = float(sample.mean())
        if keys is None:
            return cls(name, mean, sample - mean, _rare(sample, sample, np.ones(len(sample))))
        labels: npt.NDArray[Any] = np.asarray(keys)
        same_length(sample, labels)
        _, place = np.unique(labels, return_inverse=True)
        totals: FloatArray = np.bincount(place, weights=sample).astype(np.float64)
        requests = np.bincount(place).astype(np.float64)
        if len(totals) < 2:  # noqa: PLR2004 - a variance needs two
            raise InvalidSample(name, "has outcomes of one key only, needs at least 2")
        pulls: FloatArray = (totals - mean * requests) / requests.mean()
        return cls(name, mean, pulls, _rare(sample, totals, requests))

    def arm(self) -> Arm:
        return Arm(self.name, len(self.pulls), self.mean, float(self.pulls.var(ddof=1)), self.rare)


def _rare(sample: FloatArray, totals: FloatArray, requests: FloatArray) -> int | None:
    if not bool(np.all((sample == 0) | (sample == 1))):
        return None
    return min(int(np.sum(totals > 0)), int(np.sum(totals < requests)))


def _numbers(outcomes: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(outcomes)
    return array.astype(np.float64) if array.dtype == np.bool_ else array
