"""Show a search for schedules as a chart and as a page."""

from __future__ import annotations

from typing import Any

from rdv.analysis.charts import (
    Axis,
    Chart,
    Figure,
    FrontierPoint,
    Report,
    Rule,
    frontier_chart,
    share,
)
from rdv.analysis.charts.page import add_remarks
from rdv.analysis.optimise.result import Optimum, Point, describe
from rdv.analysis.statistics import Interval

_METHOD = "on the later half"


def frontier(found: Optimum) -> Chart:
    """Return the chart of quality against waiting: the frontier, the live schedule and the
    choice.
    """
    points = [_point("", one) for one in found.frontier]
    points.append(_point("live", found.live))
    if found.chosen is not None:
        points.append(_point("chosen", found.chosen, is_chosen=True))
    rules = () if found.p99_ms_max is None else (Rule("limit", found.p99_ms_max),)
    return frontier_chart(
        f"{found.measure} against waiting",
        Axis("p99", "ms"),
        Axis(found.measure, measure="share"),
        points,
        rules=rules,
        note=f"{found.tried:,} schedules tried; bars are 95 % intervals {_METHOD}.",
    )


def optimise_page(found: Optimum, decision: str) -> str:
    """Return HTML as one file."""
    report = Report(
        f"Schedules for {decision}",
        f"learned on {found.learned_on:,} requests, reported on {found.reported_on:,} later ones",
    )
    sentences = found.sentences()
    if found.chosen is None:
        report.verdict("No schedule is quick enough.", "unsure")
    else:
        report.verdict(describe(found.chosen.schedule), "good" if _is_better(found) else "neutral")
    for sentence in sentences:
        report.paragraph(f"{sentence[:1].upper()}{sentence[1:]}.")
    report.chart(frontier(found))
    rows = [_row("live", found.live), *(_row("", one) for one in found.frontier)]
    if found.chosen is not None:
        rows.append(_row("chosen", found.chosen))
    columns = ["", "schedule", found.measure, "against live", "p99 (ms)", "default"]
    report.table(columns, rows, "The frontier, the live schedule, the choice")
    add_remarks(report, found.remarks)
    return report.html()


def _is_better(found: Optimum) -> bool:
    return found.chosen is not None and found.chosen.gain_low > 0


def _point(name: str, point: Point, *, is_chosen: bool = False) -> FrontierPoint:
    return FrontierPoint(name, point.p99_ms, _score(point), is_chosen)


def _score(point: Point) -> Interval:
    return Interval(point.score, point.score_low, point.score_high, 0.95, _METHOD)


def _row(name: str, point: Point) -> list[Any]:
    gain = Figure(
        f"{100 * point.gain:+.2f} ({100 * point.gain_low:+.2f} to {100 * point.gain_high:+.2f})"
    )
    waits = Interval(point.p99_ms, point.p99_low_ms, point.p99_high_ms, 0.95, _METHOD)
    default = share(point.default_share)
    return [name, describe(point.schedule), share(_score(point)), gain, waits, default]
