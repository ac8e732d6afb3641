"""Tracks the recent errors of a model, for the status and the log."""

from __future__ import annotations

import logging

from rdv.clock import Clock

log = logging.getLogger("rdv.worker")

RECENT_ROWS = 100
"""Older rows count for less and less: beyond twice this number, all count half."""

SHARE, ROWS_MIN = 0.5, 10
"""A model is failing if at least this share of at least this many rows fails; a model whose rows
all fail is failing from the first.
"""

LOG_EVERY_NS = 10_000_000_000
"""The first error is logged at once, the next one after this time, with the number of errors."""


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
        """Count `rows` evaluated rows, `failed` of which failed; `error` is the first one's."""
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
        """Describe the failure of the model; empty while it does not fail."""
        rows, failed = self._rows, self._failed
        is_failing = failed == rows or (rows >= ROWS_MIN and failed >= SHARE * rows)
        if not failed or not is_failing:
            return ""
        return f"failing: {failed / rows:.0%} of the last {rows}: {self._error}"
