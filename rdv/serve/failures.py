"""Tracks which part of the recent rows failed in user code, and logs the errors now and then."""

from __future__ import annotations

import logging

from rdv.clock import Clock
from rdv.coded import NO_FAULT, Coded, coded
from rdv.codes import EventCode, ReportCode

RECENT_ROWS = 100
"""Older rows count for less and less: beyond twice this number, all count half."""

SHARE, ROWS_MIN = 0.5, 10
"""A model is failing if at least this share of at least this many rows fails; a model whose rows
all fail is failing from the first.
"""

LOG_EVERY_NS = 10_000_000_000
"""The first error is logged at once, the next one after this time, with the number of errors."""


class Failures:
    """Counts the rows of one model, or of the enricher, that fail. One thread."""

    def __init__(
        self, name: str, clock: Clock, log: logging.Logger, trouble_code: EventCode
    ) -> None:
        self._name = name
        self._clock = clock
        self._logger = log
        self._trouble_code = trouble_code
        self._rows = self._failed = 0
        self._error = ""
        self._why: EventCode | ReportCode = trouble_code
        self._unlogged = 0
        self._log_ns = 0

    def note(self, rows: int, failed: int, error: str, code: EventCode | ReportCode) -> None:
        """Count `rows` evaluated rows, `failed` of which failed; error and code are the first's."""
        self._rows += rows
        self._failed += failed
        if self._rows > 2 * RECENT_ROWS:
            self._rows, self._failed = self._rows // 2, self._failed // 2
        if failed:
            self._error, self._why = error, code
            self._unlogged += failed
            self._log()

    def _log(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._log_ns:
            return
        self._log_ns = now_ns + LOG_EVERY_NS
        rows = "a row" if self._unlogged == 1 else f"{self._unlogged} rows"
        text, why = "%s failed on %s: %s", coded(self._why)
        self._logger.warning(text, self._name, rows, self._error, extra=why)
        self._unlogged = 0

    @property
    def trouble(self) -> Coded:
        """Describe the failure; NO_FAULT while it does not fail."""
        rows, failed = self._rows, self._failed
        is_failing = failed == rows or (rows >= ROWS_MIN and failed >= SHARE * rows)
        if not failed or not is_failing:
            return NO_FAULT
        text = f"failing: {failed / rows:.0%} of the last {rows}: {self._error}"
        return Coded(self._trouble_code, text)
