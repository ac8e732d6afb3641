"""Show what another schedule would have answered: its charts, tables and page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rdv.analysis.charts import (
    Axis,
    Chart,
    Figure,
    Mix,
    Report,
    Rule,
    cell,
    line_chart,
    number,
    share,
)
from rdv.analysis.charts.kinds import KIND_COLOURS, kinds_mix
from rdv.analysis.charts.page import Tone, add_limits, add_promise
from rdv.analysis.exploration.view import add_exploration
from rdv.analysis.whatif.result import Side, WhatIf

_MODELS_MAX = 5
_SHARES = (
    ("answered by a model within the SLA", "sla_attainment"),
    ("preferred", "preferred"),
    ("fallback", "fallback"),
    ("default", "default"),
    ("right, where outcomes are known", "accuracy"),
)
_WAITS = tuple(
    (f"wait, {name} (ms)", key)
    for name, key in (
        ("mean", "mean_ms"),
        ("p50", "p50_ms"),
        ("p90", "p90_ms"),
        ("p99", "p99_ms"),
        ("p99.9", "p999_ms"),
    )
)
_CHANGES_MAX = 20


def whatif_charts(found: WhatIf) -> list[Chart | Mix]:
    """Return charts of waits, kinds and models, for both sides."""
    sides = {"recorded": found.recorded, "what if": found.new}
    charts: list[Chart | Mix] = []
    if (waits := _waits_chart(found, sides)) is not None:
        charts.append(waits)
    kinds = kinds_mix({name: side.kinds for name, side in sides.items()})
    return [*charts, kinds, models_mix(sides)]


def figures_table(found: WhatIf) -> tuple[list[str], list[list[Any]]]:
    """Return (columns, rows) of both sides, with bounds where the log leaves figures open."""
    was, now = found.recorded.as_json(), found.new.as_json()
    columns = ["", "recorded", "what if"]
    sides = [now, found.low.as_json(), found.high.as_json()] if found.refused else []
    if sides:
        columns.append("bounds")
    rows: list[list[Any]] = []
    for name, key in (*_SHARES, *_WAITS):
        if was[key] is None and now[key] is None:
            continue
        show: Any = _ms if key.endswith("_ms") else _share
        row: list[Any] = [name, show(was[key]), show(now[key])]
        if sides:
            row.append(_range([side[key] for side in sides], show))
        rows.append(row)
    return columns, rows


def models_table(found: WhatIf) -> tuple[list[str], list[list[Any]]]:
    """Return (columns, rows) of the share of all answers that each model gives."""
    was, now = (side.as_json()["models"] for side in (found.recorded, found.new))
    names = sorted({**was, **now})
    rows = [[name, share(was.get(name, 0)), share(now.get(name, 0))] for name in names]
    return ["model", "recorded", "what if"], rows


def changes_table(found: WhatIf, most: int = _CHANGES_MAX) -> tuple[list[str], list[list[Any]]]:
    """Return (columns, rows) of the most frequent changes of the answering model."""
    rows: list[list[Any]] = [[was, now, n] for (was, now), n in found.changes.most_common(most)]
    return ["recorded", "what if", "requests"], rows


def changes_sentence(found: WhatIf) -> str:
    """Return how many answers change, and by how much."""
    figures = found.as_json()
    text = f"Another model answers {share(figures['changed_model'])} of the requests"
    if found.compared:
        text += f"; {share(figures['changed_answer'])} of the answers change"
    if found.mean_change is not None:
        text += f", by {cell(found.mean_change)} on average and {cell(found.change_max)} at most"
    return f"{text}."


def whatif_page(found: WhatIf, decision: str, promises: Sequence[str] = ()) -> str:
    """Return HTML as one file; `promises` are sentences about the promised quality."""
    return whatif_report(found, decision, promises).html()


def whatif_report(found: WhatIf, decision: str = "the log", promises: Sequence[str] = ()) -> Report:
    """Return the report."""
    requests = f"{found.recorded.requests:,} requests"
    report = Report(f"What if: {found.schedule.label}", f"{decision}, {requests}")
    report.verdict(*_verdict(found))
    was, now = found.recorded.as_json(), found.new.as_json()
    report.figures(
        {
            "within the SLA": _change(was, now, "sla_attainment", _share),
            "right": _change(was, now, "accuracy", _share),
            "default": _change(was, now, "default", _share),
            "p50 (ms)": _change(was, now, "p50_ms", _ms),
            "p99 (ms)": _change(was, now, "p99_ms", _ms),
            "another model answers": share(found.as_json()["changed_model"]),
        }
    )
    report.paragraphs(found.sentences())
    report.heading("Figures")
    report.table(*figures_table(found), "Recorded and what if")
    if found.changes:
        report.table(*changes_table(found), "Model changes")
        report.paragraphs([changes_sentence(found)])
    add_exploration(report, found.exploration)
    report.heading("Charts")
    report.charts(whatif_charts(found))
    add_promise(report, promises)
    add_limits(report, found.caveats())
    return report


def _verdict(found: WhatIf) -> tuple[str, Tone]:
    """Return the main difference; its tone is neutral unless its interval excludes zero."""
    main = found.metric if found.metric is not None and not found.metric.problem else None
    main = main or found.attained
    if main is None:
        return "No requests to compare.", "neutral"
    tones: dict[bool | None, Tone] = {True: "good", False: "bad", None: "neutral"}
    return main.sentence(), tones[main.is_better]


def _change(was: dict[str, Any], now: dict[str, Any], key: str, show: Any) -> str | None:
    if was[key] is None or now[key] is None:
        return None
    return f"{show(was[key])} → {show(now[key])}"


def _share(value: float | None) -> Figure | None:
    return None if value is None else share(value)


def _ms(value: float | None) -> Figure | None:
    return None if value is None else Figure(number(value))


def _range(values: list[float | None], show: Any) -> Figure:
    """Return "97.4 to 98.7 %", or nothing if all values are shown alike."""
    there = [value for value in values if value is not None]
    if not there or show(min(there)) == show(max(there)):
        return Figure("")
    return Figure(f"{show(min(there)).removesuffix(' %')} to {show(max(there))}")


def _waits_chart(found: WhatIf, sides: dict[str, Side]) -> Chart | None:
    levels = np.r_[np.linspace(0.01, 0.99, 99), 0.995, 0.999]
    lines = {
        name: (np.array([side.waits.quantile_ms(float(level)) for level in levels]), levels)
        for name, side in sides.items()
        if side.waits.count
    }
    if not lines:
        return None
    return line_chart(
        "Wait of the clients",
        Axis("wait", "ms", low=0.0),
        Axis("share of requests", measure="share", low=0.0, high=1.0),
        lines,
        rules=(Rule("SLA", found.schedule.sla_ms),),
        palette=tuple(sides),
    )


def models_mix(sides: dict[str, Side]) -> Mix:
    """Return a mix of the models that answer most, with all other models together."""
    counts = sides["recorded"].models + sides["what if"].models
    names = [name for name, _ in counts.most_common(_MODELS_MAX)]
    parts = [*names, "default"] if len(counts) <= _MODELS_MAX else [*names, "others", "default"]
    rows = []
    for label, side in sides.items():
        values = [float(side.models[name]) for name in names]
        others = [float(side.models.total()) - sum(values)] if "others" in parts else []
        rows.append((label, (*values, *others, float(side.kinds["default"]))))
    colours = (*range(len(parts) - 1), KIND_COLOURS[-1])
    return Mix("Answers by model", tuple(parts), tuple(rows), colours=colours)
