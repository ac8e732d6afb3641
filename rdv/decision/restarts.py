"""Say in words why processes keep ending, from the events of the last minutes. Pure."""

from __future__ import annotations

import statistics
from collections import deque
from itertools import pairwise

from rdv.decision.events import Event

WINDOW_NS = 300 * 10**9
"""How long an end is remembered."""
OFTEN_NS = 60 * 10**9
"""A process that has ended twice within this time, the last one included, keeps ending."""
ENDS_MAX = 50
NAMES_MAX = 200
_KINDS = frozenset(("process_ended", "model_not_loaded"))
_SETTLED = frozenset(("model_removed", "model_paused", "model_version_changed"))
"""What makes the earlier ends of a model's processes history."""


class Restarts:
    """Keeps the ends of each process. For one thread."""

    def __init__(self) -> None:
        self._ends: dict[str, deque[Event]] = {}
        self._back: set[str] = set()

    def add(self, event: Event) -> None:
        """Add an event, in the order of the time line."""
        if event.kind == "serve_started":
            self._ends.clear()
            self._back.clear()
        elif event.kind == "process_back":
            self._back.add(event.about)
        elif event.kind in _SETTLED:
            for name in [n for n, ends in self._ends.items() if ends[-1].model == event.about]:
                del self._ends[name]
        elif event.kind in _KINDS:
            self._back.discard(event.about)
            ends = self._ends.pop(event.about, deque(maxlen=ENDS_MAX))
            ends.append(event)
            self._ends[event.about] = ends
            while len(self._ends) > NAMES_MAX:
                del self._ends[next(iter(self._ends))]

    def sentences(self, now_ns: int) -> list[str]:
        """Return a sentence for each process that has ended lately, the newest first."""
        found = []
        for name, ends in reversed(self._ends.items()):
            last = ends[-1]
            waits = last.retry_ms is None and name not in self._back
            if now_ns - last.time_ns > WINDOW_NS and not waits:
                continue
            found.append(self._sentence(name, ends, now_ns))
        return found

    def _sentence(self, name: str, ends: deque[Event], now_ns: int) -> str:
        last = ends[-1]
        why = last.last_line or _how(last)
        if last.code == "successor_not_ready":
            return f"{name}: its new version does not start, and the old one goes on: {why}"
        if last.retry_ms is None and name not in self._back:
            what = "cannot be loaded" if last.kind == "model_not_loaded" else "has ended"
            return f"{name} {what}, and waits for an edit: {why}"
        times = [end.time_ns for end in ends if last.time_ns - end.time_ns <= OFTEN_NS]
        if len(times) > 1 and now_ns - last.time_ns <= OFTEN_NS:
            gaps = [after - before for before, after in pairwise(times)]
            return f"{name} restarts every {_seconds(statistics.median(gaps))}: {why}"
        ago = _seconds(max(0, now_ns - last.time_ns))
        state = "runs again" if name in self._back else "is started again"
        return f"{name} ended {ago} ago and {state}: {why}"


def _how(event: Event) -> str:
    return event.signal or (f"exit code {event.exit_code}" if event.exit_code else event.message)


def _seconds(duration_ns: float) -> str:
    seconds = duration_ns / 1e9
    return f"{seconds:.1f} s" if seconds < 1.95 else f"{seconds:.0f} s"  # noqa: PLR2004
