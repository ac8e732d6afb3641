"""The plain sink counts outcomes, and computes percentiles in fixed memory."""

from __future__ import annotations

from collections import Counter

from rdv.loadgen.histogram import Histogram
from rdv.loadgen.sink import Failed

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
