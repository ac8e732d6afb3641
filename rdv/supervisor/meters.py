"""Aggregates the status lines of workers, written about once a second, by model. Pure."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from rdv.clock import Clock
from rdv.status.lines import SILENT_NS, StatusLine
from rdv.supervisor.scaling import Look

_SPAN_NS_MIN = 100_000_000
"""Lines closer than this give no rates: the later one is ignored, unless its state differs."""


class _Meter(NamedTuple):
    """Holds the last line of a process, and the rates between that and the one before."""

    line: StatusLine
    scored: float = 0.0
    refused: float = 0.0


class Meters:
    """Measures the workers of all models. For one thread."""

    def __init__(self) -> None:
        self._by_pid: dict[int, _Meter] = {}

    def add(self, line: StatusLine) -> None:
        """Add a worker's line."""
        before = self._by_pid.get(line.pid)
        if before is None:
            self._by_pid[line.pid] = _Meter(line)
            return
        span_ns = line.time_ns - before.line.time_ns
        if span_ns < _SPAN_NS_MIN and line.state == before.line.state:
            return
        span_s = max(span_ns, _SPAN_NS_MIN) / 1e9
        scored, refused = (
            max(0, line.count(key) - before.line.count(key)) / span_s
            for key in ("scored", "refused")
        )
        self._by_pid[line.pid] = _Meter(line, scored, refused)

    def keep(self, pids: Container[int]) -> None:
        """Forget all processes but these."""
        self._by_pid = {pid: meter for pid, meter in self._by_pid.items() if pid in pids}

    def look(self, model: str, batch_max: int, clock: Clock) -> Look:
        """Return the sums over a model's processes, without those whose status line is overdue."""
        now_ns = clock.monotonic_ns()
        found = [m for m in self._by_pid.values() if m.line.model == model]
        ready = [
            m for m in found if m.line.state == "ready" and not _is_silent(m, batch_max, now_ns)
        ]
        return Look(
            clock.monotonic_ns() / 1e6,
            len(ready),
            sum(meter.scored for meter in ready),
            sum(meter.refused for meter in ready),
            sum(meter.line.count("waiting") for meter in ready),
            max((_ms(meter.line, "row_ms") for meter in ready), default=0.0),
            max((_ms(meter.line, "fixed_ms") for meter in ready), default=0.0),
            max((meter.line.time_ns for meter in ready), default=0),
        )


def _is_silent(meter: _Meter, batch_max: int, now_ns: int) -> bool:
    """Return whether its status is overdue: a worker writes none while it evaluates a batch."""
    line = meter.line
    batch_ms = _ms(line, "row_ms") * batch_max + _ms(line, "fixed_ms")
    return now_ns - line.time_ns > SILENT_NS + int(batch_ms * 1e6)


def _ms(line: StatusLine, key: str) -> float:
    value = line.fields.get(key)
    return float(value) if isinstance(value, int | float) else 0.0
