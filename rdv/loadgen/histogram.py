"""Counts latencies in fixed memory: logarithmic buckets, within 0.4 % of the truth. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

_LINEAR_BITS = 7
_LINEAR = 1 << _LINEAR_BITS  # buckets of one power of two: half a bucket is 1/256 of the value
VALUE_MAX = (1 << 43) - 1
"""Larger values (2.4 hours in ns) are counted as this."""
_BUCKETS = (43 - _LINEAR_BITS) * _LINEAR + _LINEAR


class Histogram:
    """Counts whole non-negative values (nanoseconds here) in 37 KiB, however many there are.

    Values below 256 are exact; above, each power of two has 128 buckets and a bucket is reported as
    its middle, so the relative error is at most 1/256. `min`, `max` and `mean` are exact. Not
    thread-safe; `merge` combines those of several threads or processes.
    """

    __slots__ = ("_counts", "count", "max", "min", "total")

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self.count = 0
        self.total = 0
        self.min = 0
        self.max = 0

    def record(self, value: int) -> None:
        """Count a value; a negative one as 0, one beyond VALUE_MAX as that."""
        value = min(max(value, 0), VALUE_MAX)
        shift = max(value.bit_length() - _LINEAR_BITS - 1, 0)
        self._counts[shift * _LINEAR + (value >> shift)] += 1
        self.total += value
        self.max = max(self.max, value)
        self.min = value if self.count == 0 else min(self.min, value)
        self.count += 1

    @property
    def mean(self) -> float:
        """Return the mean; 0 when nothing was recorded."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """Return the value that `percent` of the values do not exceed; 0 when there are none."""
        return self.percentiles((percent,))[0]

    def percentiles(self, percents: Iterable[float]) -> list[float]:
        """Return several percentiles, in the given order, in one pass over the buckets.

        Raises ValueError when one is not between 0 and 100.
        """
        wanted = list(percents)
        for percent in wanted:
            if not 0 <= percent <= 100:  # noqa: PLR2004 - per cent
                raise ValueError(f"{percent} is not between 0 and 100")
        found = dict.fromkeys(wanted, 0.0)
        seen = index = 0
        for percent in sorted(found) if self.count else ():
            # The rank of the value, counted from 1; -(-a // b) rounds up. 1e-9 makes up for 99.9.
            rank = max(1, -int(-(percent / 100 * self.count - 1e-9) // 1))
            while seen < rank:
                seen += self._counts[index]
                index += 1
            found[percent] = min(max(_middle(index - 1), self.min), self.max)
        return [found[percent] for percent in wanted]

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        if other.count:
            self.min = min(self.min, other.min) if self.count else other.min
            self.max = max(self.max, other.max)
            self._counts = array("Q", map(int.__add__, self._counts, other._counts))
            self.count += other.count
            self.total += other.total

    def clear(self) -> None:
        """Forget all values."""
        self.__init__()  # type: ignore[misc]


def _middle(index: int) -> float:
    shift = max(index // _LINEAR - 1, 0)
    low = (index - shift * _LINEAR) << shift
    return low + ((1 << shift) - 1) / 2
