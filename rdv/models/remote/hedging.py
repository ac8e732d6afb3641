"""Decide when a second replica is asked for the same rows. Pure.

That is after the 95th percentile of the latest answers, so that a slow answer is met by a quick one
of another replica. Each call adds a small share to a budget, of which a second call takes one: the
additional load is bounded even when all replicas have become slow at once.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

QUANTILE = 0.95
RECENT_MAX = 200
"""The number of latest answers whose latencies count."""
ANSWERS_MIN = 20
"""With fewer answers than this the percentile is not known, and no second replica is asked."""
EACH = 10
"""The percentile is computed anew after this many answers."""
BURST = 3.0
"""The most calls that the budget holds."""


@dataclass
class Hedging:
    """Learns latencies and keeps the budget of one model. For one thread."""

    share: float = 0.05
    """The most second calls in relation to the first ones."""
    _latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))
    _budget: float = 0.0
    _after_ms: float = math.inf
    _typical_ms: float = math.inf
    _since: int = 0

    def learn(self, took_ms: float) -> None:
        """Note how long a first call has taken; one that was cancelled has taken at least that."""
        self._latencies_ms.append(took_ms)
        self._since += 1
        count = len(self._latencies_ms)
        if count >= ANSWERS_MIN and (self._since >= EACH or math.isinf(self._after_ms)):
            self._since = 0
            ordered = sorted(self._latencies_ms)
            self._after_ms = ordered[min(count - 1, math.ceil(QUANTILE * count) - 1)]
            self._typical_ms = ordered[count // 2]

    @property
    def after_ms(self) -> float:
        """Return after which time a second replica is asked; infinite while it is not known."""
        return self._after_ms

    @property
    def typical_ms(self) -> float:
        """Return the median; infinite while it is not known."""
        return self._typical_ms

    def called(self) -> None:
        """Note a first call."""
        self._budget = min(BURST, self._budget + self.share)

    def take(self) -> bool:
        """Take a second call from the budget; return whether there was one."""
        if self._budget < 1.0:
            return False
        self._budget -= 1.0
        return True
