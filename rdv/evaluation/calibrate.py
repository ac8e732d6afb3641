"""When a late score arrived, from when it was appended.

A result records the arrival of what it knew of; a later score has only the wall time of its
append. For scores that have both, arrival minus (append of the score minus the request's wall
time) is nearly a constant: the time between the two clocks' readings in the proxy, and from the
append to the server's look. Its median is added to the others; half of its spread is how exact
they are. Clocks of other hosts get constants of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.evaluation.joined import NEVER_US

PAIRS_MIN = 20
"""Fewer pairs of a host than this say nothing: those of all hosts are used."""


class Calibration:
    """Learns from batch to batch. One thread at a time."""

    def __init__(self) -> None:
        self._offset_us: dict[str, float] = {}
        self._common_us = 0.0
        self.error_ms: float | None = None
        """95 % of the arrivals that can be checked are at most so far off."""

    def learn(
        self,
        hosts: npt.NDArray[np.int32],
        names: tuple[str, ...],
        exact_us: npt.NDArray[np.int64],
        since_us: npt.NDArray[np.int64],
    ) -> None:
        """Arrivals that are known, and how long after the request the score was appended."""
        if not len(exact_us):
            return
        off = (exact_us - since_us).astype(np.float64)
        self._common_us = float(np.median(off))
        for code, name in enumerate(names):
            of_host = off[hosts == code]
            if len(of_host) >= PAIRS_MIN:
                self._offset_us[name] = float(np.median(of_host))
        offsets = self._offsets(names)[hosts]
        self.error_ms = float(np.quantile(np.abs(off - offsets), 0.95)) / 1000

    def arrivals_us(
        self,
        hosts: npt.NDArray[np.int32],
        names: tuple[str, ...],
        since_us: npt.NDArray[np.int64],
        least_us: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        """Arrivals of scores appended `since_us` after their request, not before `least_us`."""
        estimate: npt.NDArray[Any] = since_us + self._offsets(names)[hosts]
        bounded = np.clip(np.maximum(estimate, least_us), 0, NEVER_US - 1)
        return np.asarray(bounded, np.int64)

    def _offsets(self, names: tuple[str, ...]) -> npt.NDArray[np.float64]:
        return np.array([self._offset_us.get(name, self._common_us) for name in names])
