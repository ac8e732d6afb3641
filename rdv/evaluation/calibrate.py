"""The calibration estimates when a late score arrived, from when it was appended.

A result records the arrivals known to it; for a later score there is only the wall time of its
append. For scores that have both, the arrival minus (the append of the score minus the request's
wall time) is nearly constant: the time between the readings of both clocks in the proxy, and from
the append to the server's read. Its median is added for the other scores; its spread is their
error. Other hosts' clocks get constants of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.evaluation.joined import NEVER_US

PAIRS_MIN = 20
"""The minimum number of pairs of a host; with fewer, those of all hosts are used."""


class Calibration:
    """Learns from one batch after another. For one thread at a time."""

    def __init__(self) -> None:
        self._offset_us: dict[str, float] = {}
        self._common_us = 0.0
        self.error_ms: float | None = None
        """An error in ms that 95 % of the arrivals that can be checked do not exceed."""

    def learn(
        self,
        hosts: npt.NDArray[np.int32],
        names: tuple[str, ...],
        exact_us: npt.NDArray[np.int64],
        since_us: npt.NDArray[np.int64],
    ) -> None:
        """Learn from exact arrivals, and from how long after the request each score was
        appended.
        """
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
        """Return arrivals of scores appended `since_us` after their request, not before
        `least_us`.
        """
        estimate: npt.NDArray[Any] = since_us + self._offsets(names)[hosts]
        bounded = np.clip(np.maximum(estimate, least_us), 0, NEVER_US - 1)
        return np.asarray(bounded, np.int64)

    def _offsets(self, names: tuple[str, ...]) -> npt.NDArray[np.float64]:
        return np.array([self._offset_us.get(name, self._common_us) for name in names])
