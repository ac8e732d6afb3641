"""Count the outcomes of a run; latencies in fixed memory, within 0.4 % of the truth. Pure."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Literal, Protocol

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


Failed = Literal["connect", "lost", "timeout", "overflow", "garbage"]
"""connect: no connection could be made. lost: it ended before the answer. timeout: no answer in
time. overflow: the queue was full, nothing was sent. garbage: the answer was not HTTP.
"""


class Sink(Protocol):
    """Receives the outcome of each request. Called on the loop; must be quick.

    `number` is the one that was passed to the source, so that answers can be compared with
    requests.
    """

    def answered(
        self, number: int, status: int, latency_ns: int, service_ns: int, body: bytes
    ) -> None:
        """Handle an answer of any status.

        `latency_ns` counts from the scheduled send, `service_ns` from the actual send.
        """

    def failed(self, number: int, reason: Failed, latency_ns: int) -> None:
        """Handle a request without an answer."""


_OK = range(200, 300)
_TOO_MANY = 429


class Tally:
    """Counts the outcomes of a run. To read bodies, write a sink that also calls this one."""

    def __init__(self) -> None:
        self.latency = Histogram()
        """From the scheduled send, in ns; answers only."""
        self.service = Histogram()
        """From the actual send, in ns: what a closed-loop client would have measured."""
        self.statuses: Counter[int] = Counter()
        self.failures: Counter[Failed] = Counter()

    def answered(
        self, number: int, status: int, latency_ns: int, service_ns: int, body: bytes
    ) -> None:
        del number, body
        self.latency.record(latency_ns)
        self.service.record(service_ns)
        self.statuses[status] += 1

    def failed(self, number: int, reason: Failed, latency_ns: int) -> None:
        del number, latency_ns
        self.failures[reason] += 1

    @property
    def requests(self) -> int:
        """Return the number of answered and failed requests."""
        return self.statuses.total() + self.failures.total()

    @property
    def errors(self) -> int:
        """Return the number of failures, and of answers that are not 2xx."""
        good = sum(count for status, count in self.statuses.items() if status in _OK)
        return self.requests - good

    def unanswered(self) -> dict[str, int]:
        """Return the requests without an answer, by reason: a failure, or a status that is one.

        Not 429: the server's limit on requests in flight is meant to give that.
        """
        bad = {s: n for s, n in self.statuses.items() if s not in _OK and s != _TOO_MANY}
        failed: dict[str, int] = {str(reason): count for reason, count in self.failures.items()}
        return {**failed, **{f"status {status}": bad[status] for status in sorted(bad)}}

    def measured(self) -> dict[str, float]:
        """Return metrics for `Threshold.violated`: latencies in ns, errors as a share."""
        names = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}
        values = dict(zip(names, self.latency.percentiles(names.values()), strict=True))
        share = self.errors / self.requests if self.requests else 0.0
        return {**values, "mean": self.latency.mean, "max": self.latency.max, "errors": share}
