"""Show what another schedule would have answered, as charts and as a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rdv.evaluation.pictures import Axis, Chart, Mix, Report, Rule, line_chart, share
from rdv.evaluation.pictures.report import Tone
from rdv.evaluation.reports.remarks import add_remarks
from rdv.evaluation.whatif.report import WhatIf
from rdv.evaluation.whatif.side import Side

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
