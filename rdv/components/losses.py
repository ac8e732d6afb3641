"""Logs, counts and reports what a process could not read."""

from __future__ import annotations

import logging
from collections import deque

from rdv.errors import RdvError
from rdv.stream.passing import lost_count

log = logging.getLogger("rdv.losses")

RECENT_MAX = 8
"""The number of losses whose text is kept; the counters include all."""


class Losses:
    """Counts the losses of one reading thread; a repeated fault is logged ever more rarely."""

    def __init__(self) -> None:
        self.records = 0
        """Records that could not be read, each run of them counted once."""
        self.faults = 0
        """Reads that failed."""
        self.recent: deque[str] = deque(maxlen=RECENT_MAX)
        self._last = ""
        self._repeats = 0

    def note(self, error: RdvError) -> None:
        """Note that a read has failed with this error."""
        text = error.text()
        self.faults += 1
        self._repeats = self._repeats + 1 if text == self._last else 0
        self._last = text
        if self._repeats & (self._repeats - 1):
            return  # the first, second, third, fifth, ninth …: a broken disk does not fill the log
        log.error("%s", text)
        if text not in self.recent:
            self.recent.append(text)
            self.records += lost_count(error)

    def figures(self) -> dict[str, object]:
        """Return the figures for the status line; usually none."""
        if not self.faults:
            return {}
        return {"unread_records": self.records, "unread": list(self.recent)}
