"""A side has the figures of the recorded decisions, or of those of another schedule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.evaluation.joined import DEFAULT, FALLBACK, KINDS, NO_RESULT, PREFERRED

_FINE_US, _FINE_BINS = 10, 100_000
_COARSE_US, _COARSE_BINS = 1_000, 3_600_000
"""The width and number of the bins: waits are counted to 10 µs below a second, to 1 ms above."""


@dataclass
class Waits:
    """A distribution of waits: exact counts in narrow bins, so that batches add up."""

    _fine: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_FINE_BINS, np.int64))
    _coarse: Counter[int] = field(default_factory=Counter)
    _sum_us: float = 0.0
    count: int = 0

    def add(self, waits_us: npt.NDArray[np.int64]) -> None:
        fine = waits_us // _FINE_US
        is_fine = fine < _FINE_BINS
        self._fine += np.bincount(fine[is_fine], minlength=_FINE_BINS)
        self._coarse.update((waits_us[~is_fine] // _COARSE_US).tolist())
        self._sum_us += float(waits_us.sum())
        self.count += len(waits_us)

    def quantile_ms(self, share: float) -> float | None:
        """Return the wait that the given share does not exceed, to the width of a bin; None without
        any wait.
        """
        if not self.count:
            return None
        wanted = max(1, int(np.ceil(share * self.count - 1e-9)))
        upto = np.cumsum(self._fine)
        if upto[-1] >= wanted:
            return float(np.searchsorted(upto, wanted)) * _FINE_US / 1000
        left = wanted - int(upto[-1])
        for at in sorted(self._coarse):
            left -= self._coarse[at]
            if left <= 0:
                return at * _COARSE_US / 1000
        return None

    @property
    def mean_ms(self) -> float | None:
        return self._sum_us / self.count / 1000 if self.count else None


@dataclass
class Side:
    """Sums over requests, to which batches are added."""

    requests: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    steps: Counter[int] = field(default_factory=Counter)
    in_time: int = 0
    """Requests answered by a model within the SLA."""
    waits: Waits = field(default_factory=Waits)
    right: float = 0.0
    judged: int = 0
    """Requests whose outcome is known, and can be compared with answers."""

    def add(
        self,
        kind: npt.NDArray[np.uint8],
        step: npt.NDArray[Any],
        waited_us: npt.NDArray[np.int64],
        in_time: npt.NDArray[np.bool_],
    ) -> None:
        """Add a batch. Requests without a result only count as requests."""
        self.requests += len(kind)
        for code in (PREFERRED, FALLBACK, DEFAULT):
            self.kinds[str(KINDS[code])] += int((kind == code).sum())
        there = kind != NO_RESULT
        for number, count in enumerate(np.bincount(step[there].astype(np.int64))):
            self.steps[number] += int(count)
        self.in_time += int(in_time.sum())
        self.waits.add(waited_us[there])

    def judge(self, right: npt.NDArray[np.float64]) -> None:
        """Add 1, 0 or NaN for each request."""
        known = ~np.isnan(right)
        self.judged += int(known.sum())
        self.right += float(right[known].sum())

    def share(self, kind: str) -> float:
        """Return the share of a kind among all requests."""
        return self.kinds[kind] / self.requests if self.requests else 0.0

    @property
    def accuracy(self) -> float | None:
        return self.right / self.judged if self.judged else None

    def as_json(self) -> dict[str, Any]:
        """Return shares of all requests, and waits in ms."""
        count = max(1, self.requests)
        return {
            "requests": self.requests,
            "sla_attainment": self.in_time / count,
            **{kind: self.kinds[kind] / count for kind in ("preferred", "fallback", "default")},
            "models": {name: n / count for name, n in self.models.most_common()},
            "steps": {str(number): n / count for number, n in sorted(self.steps.items()) if n},
            "mean_ms": self.waits.mean_ms,
            "p50_ms": self.waits.quantile_ms(0.5),
            "p90_ms": self.waits.quantile_ms(0.9),
            "p99_ms": self.waits.quantile_ms(0.99),
            "p999_ms": self.waits.quantile_ms(0.999),
            "accuracy": self.accuracy,
            "judged": self.judged,
        }
