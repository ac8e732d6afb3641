"""The unit of an interval: the key. Requests of one key are alike, so that they count as one draw.

`Units` says which key each request has; `Pulls` how far each key moves an estimate. The error of an
estimate is the sum of its keys' pulls: the delta method for means (Deng, Knoblich & Lu, KDD 2018),
the infinitesimal jackknife for others (Efron, SIAM 1982), which for ROC AUC is the clustered form
of DeLong's variance (Obuchowski, Biometrics 53, 1997).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.metrics.metric import Measured
from rdv.analysis.statistics.sample import BoolArray, FloatArray, IntArray, InvalidSample

KEYS_MIN = 20
"""The minimum number of keys for an interval."""
PART_KEYS_MIN = 10
"""The minimum number of keys with positives, with negatives, or with requests of each class."""
EFFECTIVE_MIN = 5.0
"""The minimum of Kish's effective number of keys: below it, single keys decide."""
MOVING_MIN = 10
"""The minimum number of keys that move an estimate, if its variance is all that is known."""
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """For each request of a sample, the number of its key; `count` keys in all."""

    place: IntArray
    count: int
    name: str = "keys"

    @classmethod
    def of(cls, keys: npt.ArrayLike | None, rows: IntArray, count: int) -> Units:
        """Return the units of some rows of `count` requests; without keys each is its own unit."""
        if keys is None:
            return cls(np.arange(len(rows)), len(rows), "requests")
        given: npt.NDArray[Any] = np.asarray(keys)
        if given.ndim != 1 or len(given) != count:
            raise InvalidSample("keys", f"there must be one for each of the {count} requests")
        given = given[rows]
        if given.dtype.kind == "O":
            codes: dict[Any, int] = {}
            found = [codes.setdefault(key, len(codes)) for key in given.tolist()]
            if None in codes:
                raise InvalidSample("keys", "some requests have none; give these their ids")
            return cls(np.array(found, dtype=np.int64), len(codes))
        different, place = np.unique(given, return_inverse=True)
        return cls(place.astype(np.int64), len(different))

    def sums(self, values: FloatArray) -> FloatArray:
        """Return the sum over each key's requests."""
        found: FloatArray = np.bincount(self.place, values, self.count).astype(np.float64)
        return found

    def having(self, rows: BoolArray) -> int:
        """Return how many keys have at least one of these requests."""
        return int(np.count_nonzero(np.bincount(self.place[rows], minlength=self.count)))


@dataclass(frozen=True, slots=True, eq=False)
class Pulls:
    """How far each key moves an estimate; the squares sum to its squared error, the cubes to skew.

    `effective` is Kish's effective number of keys, of the smallest part. `moving` is how many keys
    move the estimate at all.
    """

    by_key: FloatArray
    effective: float

    @property
    def moving(self) -> int:
        size = np.abs(self.by_key)
        return int(np.count_nonzero(size > _ROUNDING * max(1.0, float(size.max(initial=0.0)))))

    @property
    def error(self) -> float:
        """The standard error of the estimate."""
        return math.sqrt(float(self.by_key @ self.by_key))

    @property
    def skew(self) -> float:
        """The skewness of the estimate: that of a key's value, over the root of their number."""
        error = self.error
        return float(np.sum(self.by_key**3)) / error**3 if error > 0 else 0.0


def pulls_of(influence: FloatArray, weights: FloatArray, units: Units, shares: FloatArray) -> Pulls:
    """Return each key's pull, corrected for its own share of the estimate.

    A key with a share h moves the estimate towards itself, so that its pull looks too small: it is
    divided by sqrt(1 - h), as Bell & McCaffrey (Survey Methodology 28, 2002) do. With keys of equal
    size the squared error is then unbiased.
    """
    pulled = units.sums(weights * influence) / np.sqrt(1 - np.minimum(shares.max(axis=0), 0.99))
    return Pulls(pulled, effective_keys(shares))


def shares_of(measured: Measured, weights: FloatArray, units: Units) -> FloatArray:
    """Return, for each part of the metric, each key's share of its weight: (parts, keys)."""
    sums = [units.sums(np.where(rows, weights, 0.0)) for _, rows in measured.parts]
    return np.stack([one / one.sum() for one in sums])


def effective_keys(shares: FloatArray) -> float:
    """Return Kish's effective number of keys of the part that has the fewest."""
    return float((1 / np.sum(shares**2, axis=1)).min())


def freedom(shares: FloatArray) -> float:
    """Return the degrees of freedom of an error by key, of the part that has the fewest, plus one.

    Bell & McCaffrey's (2002), if the requests of a key are all alike: keys of unequal sizes give a
    less certain error than as many of equal size.
    """
    square = shares**2
    return float((square.sum(axis=1) ** 2 / np.sum(square**2, axis=1)).min())


def too_few(measured: Measured, shares: FloatArray, units: Units) -> str:
    """Return why there are too few keys for an interval; empty if there are enough."""
    name = units.name
    if units.count < KEYS_MIN:
        return f"only {units.count} {name}, an interval needs {KEYS_MIN}"
    for part, rows in measured.parts:
        having = units.having(rows)
        if having < PART_KEYS_MIN:
            return f"only {having} {name} with {part}, an interval needs {PART_KEYS_MIN}"
    for (part, _), share in zip(measured.parts, shares, strict=True):
        if 1 / float(share @ share) < EFFECTIVE_MIN:
            return f"one key has {share.max():.0%} of the {part}: single keys decide"
    return ""
