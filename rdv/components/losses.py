"""What a process could not read: logged by name, counted, and shown in its status."""

from __future__ import annotations

import logging
from collections import deque

from rdv.errors import RdvError
from rdv.stream.passing import lost_count

log = logging.getLogger("rdv.losses")

RECENT_MAX = 8
"""So many losses are kept in words; the counters are whole."""


class Losses:
    """For the thread that reads. A fault that comes again at each read is logged now and then."""

    def __init__(self) -> None:
        self.records = 0
        """Records that could not be read, each run of them counted once."""
        self.faults = 0
        """Reads that failed."""
        self.recent: deque[str] = deque(maxlen=RECENT_MAX)
        self._last = ""
        self._repeats = 0

    def note(self, error: RdvError) -> None:
        """A read has failed with this."""
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
        """For the status line: nothing as a rule."""
        if not self.faults:
            return {}
        return {"unread_records": self.records, "unread": list(self.recent)}
