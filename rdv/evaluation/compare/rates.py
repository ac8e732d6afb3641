"""Count requests in windows of time, and find windows with unusual counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics import RateAnomaly, rate_anomalies, rate_reference

SLOTS_MAX = 100_000
WINDOWS = 60
REFERENCE_WINDOWS_MIN = 5
FIRST_NS = 10**8


@dataclass(frozen=True)
class Rates:
    """Requests in windows of `width_ns`; the first `reference` windows define what is usual.

    The first and the last interval, which are not whole, are left out. `anomalies` count windows
    from 0; None if the time is too short.
    """

    width_ns: int
    start_ns: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    reference: int
    expected: float | None
    anomalies: list[RateAnomaly] | None

    @property
    def per_second(self) -> npt.NDArray[np.float64]:
        rate: npt.NDArray[np.float64] = self.counts / (self.width_ns / 1e9)
        return rate

    def sentence(self) -> str:
        """Return a sentence about the rate."""
        if self.anomalies is None:
            return "Too short a time to say whether requests came at an even rate."
        if not self.anomalies:
            return "Requests came as often as at the beginning."
        many = sum(one.score > 0 for one in self.anomalies)
        worst = max(self.anomalies, key=lambda one: abs(one.score))
        return (
            f"{len(self.anomalies)} of {len(self.counts)} windows of {self.width_ns / 1e9:g} s are "
            f"out of line with the beginning: {many} with too many requests, "
            f"{len(self.anomalies) - many} with too few; one has {worst.count:,} where "
            f"{worst.expected:,.0f} were expected."
        )


class RateCounter:
    """Counts requests in slots that widen as time goes on, so that their number is bounded."""

    def __init__(self) -> None:
        self._width_ns = FIRST_NS
        self._slots: Counter[int] = Counter()

    def add(self, times_ns: npt.NDArray[np.int64]) -> None:
        slots, counts = np.unique(times_ns // self._width_ns, return_counts=True)
        self._slots.update(dict(zip(slots.tolist(), counts.tolist(), strict=True)))
        while len(self._slots) > SLOTS_MAX:
            self._width_ns *= 2
            wider: Counter[int] = Counter()
            for slot, count in self._slots.items():
                wider[slot // 2] += count
            self._slots = wider

    def rates(self) -> Rates:
        """Return about `WINDOWS` windows, each of the same whole number of slots."""
        if not self._slots:
            return _nothing(self._width_ns)
        first, last = min(self._slots), max(self._slots)
        wide = max(1, (last - first + 1) // WINDOWS)
        count = (last - first - 1) // wide
        if count < 4 * REFERENCE_WINDOWS_MIN:
            return _nothing(self._width_ns)
        counts = np.zeros(count, np.int64)
        for slot, requests in self._slots.items():
            at = (slot - first - 1) // wide
            if slot > first and at < count:
                counts[at] += requests
        reference = max(REFERENCE_WINDOWS_MIN, count // 4)
        usual = rate_reference(counts[:reference])
        start_ns = (first + 1 + wide * np.arange(count, dtype=np.int64)) * self._width_ns
        found = rate_anomalies(counts, usual) if usual.events else None
        return Rates(self._width_ns * wide, start_ns, counts, reference, usual.rate, found)


def _nothing(width_ns: int) -> Rates:
    empty = np.empty(0, np.int64)
    return Rates(width_ns, empty, empty, 0, None, None)
