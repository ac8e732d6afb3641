"""Keep the requests that change most: right before and wrong now, then to the default, then far."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.regress.result import Changed

Rank = tuple[int, float, float]


class Worst:
    """The `most` worst changes of all batches. For one thread at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[tuple[Rank, int, Changed]] = []
        self._count = 0

    def candidates(
        self,
        level: npt.NDArray[Any],
        far: npt.NDArray[np.float64],
        longer_ms: npt.NDArray[np.float64],
    ) -> list[int]:
        """Return the places of a batch's worst changes, the worst first."""
        order = np.lexsort((-longer_ms, -far, -level))
        return [int(place) for place in order[: self._most]]

    def add(self, rank: Rank, changed: Changed) -> None:
        """Add one change; earlier ones precede later ones of equal rank."""
        self._count += 1
        entry = rank, -self._count, changed
        if len(self._kept) < self._most:
            heapq.heappush(self._kept, entry)
        elif self._most:
            heapq.heappushpop(self._kept, entry)

    def found(self) -> tuple[Changed, ...]:
        """Return them, the worst first."""
        return tuple(changed for _, _, changed in sorted(self._kept, reverse=True))
