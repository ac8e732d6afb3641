"""Computes figures of the results of the last seconds. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rdv.rendezvous.messages import Result, result_code
from rdv.status.lines import StatusLine

MISS_GRACE_MS = 10.0
"""An answer is a miss when it is later than its SLA by more than this."""

ENTRIES_MAX = 500_000
"""The maximum number of entries in a window; beyond it, the oldest are dropped."""

PERCENTS = (50.0, 90.0, 99.0)


class Entry(NamedTuple):
    """Holds the parts of a result that are kept."""

    time_ns: int
    id: str
    kind: str
    model: str | None
    waited_ms: float
    is_by_proxy: bool
    schedule: str
    cohort: str | None
    code: str = ""


class ResultWindow:
    """Collects results as they are read; those older than `seconds` are forgotten."""

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self._entries: deque[Entry] = deque(maxlen=ENTRIES_MAX)

    def add(self, time_ns: int, result: Result) -> None:
        """Add a result; `time_ns` is when it was appended, on the clock of `figures`."""
        self._entries.append(
            Entry(
                time_ns,
                result.id,
                result.kind,
                result.model,
                result.waited_ms,
                result.answered_by == "proxy",
                result.schedule,
                result.cohort,
                result_code(result),
            )
        )

    def figures(
        self,
        now_ns: int,
        sla_ms: Callable[[str], float | None],
        running_s: float | None = None,
        off_record: int = 0,
    ) -> dict[str, Any]:
        """Return rate, mix, latency and misses; `running_s`: since when there can have been any.

        `off_record`: answers that are not in the log (`OffRecord`). They count for the rate and the
        mix; their latency is not known.
        """
        since_ns = now_ns - int(self.seconds * 1e9)
        while self._entries and self._entries[0].time_ns < since_ns:
            self._entries.popleft()
        entries = received(self._entries, since_ns)
        span_s = self.seconds if running_s is None else max(0.1, min(self.seconds, running_s))
        count = len(entries) + off_record
        kinds = Counter(entry.kind for entry in entries)
        kinds["default"] += off_record
        waited = sorted(entry.waited_ms for entry in entries)
        return {
            "window_s": round(span_s, 3),
            "answers": count,
            "off_record": off_record,
            "rate": count / span_s,
            "kinds": {
                kind: kinds[kind] / count if count else 0.0
                for kind in ("preferred", "fallback", "default")
            },
            "codes": dict(Counter(entry.code for entry in entries if entry.code).most_common()),
            "by_proxy": sum(entry.is_by_proxy for entry in entries),
            "waited_ms": {f"p{p:g}": percentile(waited, p) for p in PERCENTS}
            | {"max": waited[-1] if waited else None},
            "misses": sum(_is_late(entry, sla_ms) for entry in entries),
            "models": _models(entries),
            "schedules": dict(Counter(entry.schedule for entry in entries).most_common()),
            "cohorts": dict(Counter(e.cohort for e in entries if e.cohort).most_common()),
        }


class _Counted(NamedTuple):
    time_ns: int
    lost: int
    waiting: int
    default: int


class OffRecord:
    """Counts answers of proxies that are not in the log, by the proxies' status lines.

    Only answers of the proxy itself can be missing there: each is the default.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lines: dict[tuple[str, int], deque[_Counted]] = {}

    def add(self, line: StatusLine) -> None:
        """Add a line, with its time `on_this_clock`; only those of proxies count."""
        if line.role == "proxy":
            counts = (line.count(key) for key in ("lost_answers", "unrecorded", "default"))
            lines = self._lines.setdefault((line.name, line.pid), deque())
            lines.append(_Counted(line.time_ns, *counts))

    def count(self, now_ns: int) -> int:
        """Return the number in the last seconds."""
        since_ns = now_ns - int(self.seconds * 1e9)
        for key, lines in list(self._lines.items()):
            if lines[-1].time_ns < since_ns:
                del self._lines[key]
            while len(lines) > 1 and lines[1].time_ns <= since_ns:
                lines.popleft()
        found = 0
        for lines in self._lines.values():
            before, now = lines[0], lines[-1]
            missing = now.lost - before.lost + now.waiting
            found += max(0, min(missing, now.default - before.default))
        return found


def received(entries: Sequence[Entry] | deque[Entry], since_ns: int) -> list[Entry]:
    """Return what clients received: not a server's result that came after the proxy's answer."""
    by_proxy = {entry.id for entry in entries if entry.is_by_proxy}
    return [
        entry
        for entry in entries
        if entry.time_ns >= since_ns and (entry.is_by_proxy or entry.id not in by_proxy)
    ]


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the value that `percent` of the ordered values do not exceed; None without values."""
    if not ordered:
        return None
    # 1e-9 makes up for 99.9 not being a binary fraction.
    rank = max(1, -int(-(percent / 100 * len(ordered) - 1e-9) // 1))
    return ordered[rank - 1]


def _is_late(entry: Entry, sla_ms: Callable[[str], float | None]) -> bool:
    limit_ms = sla_ms(entry.schedule)
    return limit_ms is not None and entry.waited_ms > limit_ms + MISS_GRACE_MS


def _models(entries: Sequence[Entry]) -> dict[str, int]:
    """Return the answers by model; defaults are in `kinds`."""
    return dict(Counter(entry.model for entry in entries if entry.model).most_common())
