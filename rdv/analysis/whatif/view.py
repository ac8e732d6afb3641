"""Show what another schedule would have answered, as charts and as a page.

Write the decisions of a what-if as a Parquet file, one row for each request.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rdv.analysis.charts import Axis, Chart, Mix, Report, Rule, line_chart, share
from rdv.analysis.charts.page import Tone, add_remarks
from rdv.analysis.dataset.joined import KINDS, NO_RESULT
from rdv.analysis.whatif.result import Side, WhatIf
from rdv.analysis.whatif.study import Row
from rdv.stream.file.disk import faults

_KINDS = ("preferred", "fallback", "default")
_MODELS_MAX = 7
_SHARES = (
    ("answered by a model within the SLA", "sla_attainment"),
    *((kind, kind) for kind in _KINDS),
    ("right, where outcomes are known", "accuracy"),
)
_WAITS = (("mean", "mean_ms"), ("p50", "p50_ms"), ("p99", "p99_ms"), ("p99.9", "p999_ms"))


def whatif_charts(found: WhatIf) -> list[Chart | Mix]:
    """Return charts of waits, kinds and models, for both sides."""
    sides = {"recorded": found.recorded, "what if": found.new}
    charts: list[Chart | Mix] = []
    if (waits := _waits_chart(found, sides)) is not None:
        charts.append(waits)
    kinds = tuple(
        (name, tuple(float(side.kinds[kind]) for kind in _KINDS)) for name, side in sides.items()
    )
    return [*charts, Mix("What clients are told", _KINDS, kinds), _models_mix(sides)]


def whatif_page(found: WhatIf, decision: str) -> str:
    """Return HTML as one file."""
    was, now = found.recorded.as_json(), found.new.as_json()
    report = Report(f"What if: {found.schedule.label}", f"{decision}, {was['requests']:,} requests")
    report.verdict(*_verdict(was, now))
    shares = [[name, *map(_share, (was[key], now[key]))] for name, key in _SHARES]
    waits = [[f"wait, {name} (ms)", was[key], now[key]] for name, key in _WAITS]
    report.table(["", "recorded", "what if"], [*shares, *waits], "Both sides")
    if found.refused:
        bounds = [found.best.as_json(), found.worst.as_json()]
        rows = [[name, *(_share(side[key]) for side in bounds)] for name, key in _SHARES[:4]]
        report.table(["", "at best", "at worst"], rows, "What the record leaves open")
    for chart in whatif_charts(found):
        report.chart(chart)
    changes = [[a, b, count] for (a, b), count in found.changes.most_common(20)]
    if changes:
        report.table(["instead of", "now", "requests"], changes, "Who answers instead of whom")
    add_remarks(report, found.caveats())
    return report.html()


def _verdict(was: dict[str, Any], now: dict[str, Any]) -> tuple[str, Tone]:
    key, what = "sla_attainment", "answered by a model within the SLA"
    if was["accuracy"] is not None and now["accuracy"] is not None:
        key, what = "accuracy", "right, of those whose outcome is known"
    gain = 100 * (now[key] - was[key])
    tone: Tone = "neutral" if abs(gain) < 0.005 else "good" if gain > 0 else "bad"  # noqa: PLR2004
    return f"{_share(now[key])} {what}, instead of {_share(was[key])}", tone


def _share(value: float | None) -> Any:
    return None if value is None else share(value)


def _waits_chart(found: WhatIf, sides: dict[str, Side]) -> Chart | None:
    levels = np.r_[np.linspace(0.01, 0.99, 99), 0.995, 0.999]
    lines = {
        name: (_quantiles(side.waits.quantile_ms, levels), levels)
        for name, side in sides.items()
        if side.waits.count
    }
    if not lines:
        return None
    return line_chart(
        "How long clients wait",
        Axis("wait", "ms", low=0.0),
        Axis("share of requests", measure="share", low=0.0, high=1.0),
        lines,
        rules=(Rule("SLA", found.schedule.sla_ms),),
    )


def _quantiles(quantile_ms: Callable[[float], float | None], levels: Any) -> Any:
    return np.array([quantile_ms(float(level)) for level in levels], dtype=np.float64)


def _models_mix(sides: dict[str, Side]) -> Mix:
    """Return a mix of the models that answer most, with all other models together."""
    counts = sides["recorded"].models + sides["what if"].models
    names = [name for name, _ in counts.most_common(_MODELS_MAX)]
    rows = []
    for label, side in sides.items():
        values = [float(side.models[name]) for name in names]
        others = float(side.models.total()) - sum(values)
        rows.append((label, (*values, others, float(side.kinds["default"]))))
    return Mix("Who answers", (*names, "others", "default"), tuple(rows))


SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("time", pa.timestamp("us", "UTC")),
        ("recorded_kind", pa.string()),
        ("recorded_model", pa.string()),
        ("recorded_ms", pa.float64()),
        ("kind", pa.string()),
        ("model", pa.string()),
        ("step", pa.int32()),
        ("waited_ms", pa.float64()),
    ]
)


class DecisionFile:
    """Writes batches to `path`. Raises the log's SystemFaults."""

    def __init__(self, path: str) -> None:
        self._path = path
        with faults(path, "write"):
            self._writer = pq.ParquetWriter(path, SCHEMA)

    def add(self, row: Row) -> None:
        joined, decided = row.joined, row.decided
        kinds = [str(kind) if kind else None for kind in KINDS]
        columns: list[Any] = [
            [id_.decode() for id_ in joined.ids.tolist()],
            joined.time_ns // 1000,
            [kinds[code] for code in joined.kind.tolist()],
            [joined.model.at(n) for n in range(len(joined))],
            pa.array(joined.waited_ms, mask=joined.kind == NO_RESULT),
            [kinds[code] for code in decided.kind.tolist()],
            row.models,
            decided.step.astype(np.int32),
            decided.at_us / 1000,
        ]
        arrays = [
            column if isinstance(column, pa.Array) else pa.array(column, field.type)
            for column, field in zip(columns, SCHEMA, strict=True)
        ]
        with faults(self._path, "write"):
            self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))

    def __enter__(self) -> DecisionFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with faults(self._path, "write"):
            self._writer.close()
