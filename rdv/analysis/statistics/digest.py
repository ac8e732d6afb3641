"""The t-digest describes a distribution in a few kilobytes, for any number of values.

Dunning & Ertl, *Computing extremely accurate quantiles using t-digests* (2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from fastdigest import TDigest

from rdv.analysis.statistics.sample import FloatArray, InvalidSample, as_sample

CENTROIDS_MAX = 500
"""The maximum number of centroids (8 kB); a quantile's level is exact to some 1e-5."""


class Digest:
    """Summary of values that can be added and merged, for chunks and for partitions.

    Not thread-safe; make one for each thread and merge them. Values must be finite.
    """

    __slots__ = ("_digest",)

    def __init__(self, values: npt.ArrayLike | None = None) -> None:
        self._digest = TDigest(CENTROIDS_MAX)
        if values is not None:
            self.add(values)

    @classmethod
    def merged(cls, digests: Iterable[Digest]) -> Digest:
        """Return one digest of all values in these; they are not changed."""
        whole = cls()
        for digest in digests:
            whole.merge(digest)
        return whole

    @classmethod
    def from_bytes(cls, data: bytes) -> Digest:
        """Return the digest that `to_bytes` wrote. Raises InvalidSample."""
        digest = cls()
        try:
            digest._digest = TDigest.from_bytes(data)
        except ValueError as error:
            raise InvalidSample("digest", f"cannot be read: {error}") from None
        return digest

    def to_bytes(self) -> bytes:
        return self._digest.to_bytes()

    def add(self, values: npt.ArrayLike) -> None:
        """Add a chunk of values. Raises InvalidSample, and adds nothing then."""
        sample = as_sample("values", values, at_least=0)
        if len(sample):
            # The buffer protocol is accepted; the stubs name sequences only.
            self._digest.batch_update(sample)  # type: ignore[arg-type]

    def merge(self, other: Digest) -> None:
        """Add all values of `other`."""
        if other.count:
            self._digest.merge_inplace(other._digest)

    @property
    def count(self) -> int:
        return int(self._digest.n_values)

    @property
    def low(self) -> float:
        """The smallest value, exact. Raises InvalidSample if empty."""
        self._filled()
        return float(self._digest.min())

    @property
    def high(self) -> float:
        """The largest value, exact. Raises InvalidSample if empty."""
        self._filled()
        return float(self._digest.max())

    @property
    def mean(self) -> float:
        self._filled()
        return float(self._digest.mean())

    def quantiles(self, levels: Sequence[float] | FloatArray) -> FloatArray:
        """Return the values at these levels (0.99 for p99). Raises InvalidSample if empty."""
        self._filled()
        asked = as_sample("levels", np.asarray(levels), at_least=0)
        if len(asked) and not (asked.min() >= 0 and asked.max() <= 1):
            raise InvalidSample("levels", "must be between 0 and 1")
        return np.array(self._digest.quantile_vec(asked.tolist()), dtype=np.float64)

    def curve(self) -> tuple[FloatArray, FloatArray]:
        """Return values in rising order and the share at or below each, ties counted half.

        In between, the distribution is assumed to be linear. Raises InvalidSample if empty.
        """
        self._filled()
        pairs = np.array(self._digest.centroids, dtype=np.float64)
        values, place = np.unique(pairs[:, 0], return_inverse=True)
        weights = np.bincount(place, weights=pairs[:, 1])
        total = float(weights.sum())
        levels = (np.cumsum(weights) - weights / 2) / total
        half = 0.5 / total
        if self.low < values[0]:
            values, levels = np.r_[self.low, values], np.r_[min(half, levels[0]), levels]
        if self.high > values[-1]:
            values, levels = np.r_[values, self.high], np.r_[levels, max(1 - half, levels[-1])]
        return values, levels

    def _filled(self) -> None:
        if not self.count:
            raise InvalidSample("digest", "has seen no values")
