"""How a model has done lately: what the status shows of its errors, and what the log says."""

from __future__ import annotations

import logging

from rdv.clock import Clock

log = logging.getLogger("rdv.worker")

RECENT_ROWS = 100
"""Older rows count for less and less: beyond twice as many, all count half."""

SHARE, ROWS_MIN = 0.5, 10
"""A model that fails on as large a share of at least so many rows is failing; one that fails on
each of its rows is so from the first."""

LOG_EVERY_NS = 10_000_000_000
"""The first error is logged at once, the next one after so long, with how many there were."""


class Failures:
    """Counts the rows of one model that fail. One thread."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._rows = self._failed = 0
        self._error = ""
        self._unlogged = 0
        self._log_ns = 0

    def note(self, rows: int, failed: int, error: str) -> None:
        """So many rows were evaluated, and so many of them failed; `error` is the first one's."""
        self._rows += rows
        self._failed += failed
        if self._rows > 2 * RECENT_ROWS:
            self._rows, self._failed = self._rows // 2, self._failed // 2
        if failed:
            self._error = error
            self._unlogged += failed
            self._log()

    def _log(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._log_ns:
            return
        self._log_ns = now_ns + LOG_EVERY_NS
        rows = "a row" if self._unlogged == 1 else f"{self._unlogged} rows"
        log.warning("%s failed on %s: %s", self._name, rows, self._error)
        self._unlogged = 0

    @property
    def trouble(self) -> str:
        """That the model fails, and why; empty while it does not."""
        rows, failed = self._rows, self._failed
        is_failing = failed == rows or (rows >= ROWS_MIN and failed >= SHARE * rows)
        if not failed or not is_failing:
            return ""
        return f"failing: {failed / rows:.0%} of the last {rows}: {self._error}"
