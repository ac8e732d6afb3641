"""From the lines that workers write about once a second to looks at whole models. Pure."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from rdv.status.lines import StatusLine
from rdv.supervisor.scaling import Look

_SPAN_NS_MIN = 100_000_000
"""Two lines that are closer say nothing about rates: the later one is put to the earlier."""


class _Meter(NamedTuple):
    """One process: its last line, and the rates between that and the one before."""

    line: StatusLine
    scored: float = 0.0
    refused: float = 0.0


class Meters:
    """The workers of all models. For one thread."""

    def __init__(self) -> None:
        self._by_pid: dict[int, _Meter] = {}

    def add(self, line: StatusLine) -> None:
        """A worker's line."""
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

    def look(self, model: str, now_ms: float) -> Look:
        """All of a model's processes together."""
        found = [m for m in self._by_pid.values() if m.line.model == model]
        ready = [meter for meter in found if meter.line.state == "ready"]
        return Look(
            now_ms,
            len(ready),
            sum(meter.scored for meter in ready),
            sum(meter.refused for meter in ready),
            sum(meter.line.count("waiting") for meter in ready),
            max((_ms(meter.line, "row_ms") for meter in ready), default=0.0),
            max((_ms(meter.line, "fixed_ms") for meter in ready), default=0.0),
        )


def _ms(line: StatusLine, key: str) -> float:
    value = line.fields.get(key)
    return float(value) if isinstance(value, int | float) else 0.0
