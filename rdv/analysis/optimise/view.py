"""Show a search for schedules: its chart, table and page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rdv.analysis.charts import Axis, Chart, FrontierPoint, Report, Rule, frontier_chart, share
from rdv.analysis.charts.page import add_limits, add_promise
from rdv.analysis.optimise.measured import gain_text
from rdv.analysis.optimise.result import Optimum, Point, describe


def frontier(found: Optimum) -> Chart:
    """Return the chart of quality against waiting: frontier, live schedule and choice."""
    points = [_point("", one) for one in found.frontier]
    points.append(_point("live", found.live))
    if found.chosen is not None:
        points.append(_point("chosen", found.chosen, is_chosen=True))
    rules = () if found.p99_ms_max is None else (Rule("limit", found.p99_ms_max),)
    return frontier_chart(
        f"{found.measure.capitalize()} against waiting",
        Axis("p99", "ms"),
        _axis(found),
        points,
        rules=rules,
        note=f"{found.tried:,} schedules tried; bars are 95 % intervals on the later half.",
    )


def schedules_table(found: Optimum) -> tuple[list[str], list[list[Any]]]:
    """Return (columns, rows) of the live schedule, the frontier and the choice."""
    points = [("live", found.live), *(("", one) for one in found.frontier)]
    if found.chosen is not None:
        points.append(("chosen", found.chosen))
    columns = ["", "schedule", found.measure, "gain", "p99 (ms)", "default"]
    return columns, [
        [
            name,
            describe(point.schedule),
            found.score_text(point.score),
            None if name == "live" else gain_text(found.metric, point.gain, found.unit),
            point.p99_ms,
            share(point.default_share if point.default is None else point.default),
        ]
        for name, point in points
    ]


def _axis(found: Optimum) -> Axis:
    is_share = found.metric.unit == "%"
    return Axis(found.measure, measure="share") if is_share else Axis(found.measure, found.unit)


def optimise_page(found: Optimum, decision: str, promises: Sequence[str] = ()) -> str:
    """Return HTML as one file; `promises` are sentences about the promised quality."""
    return optimise_report(found, decision, promises).html()


def optimise_report(
    found: Optimum, decision: str = "the log", promises: Sequence[str] = ()
) -> Report:
    """Return the report."""
    report = Report(
        f"Schedules for {decision}",
        f"learned on {found.learned_on:,} requests, reported on {found.reported_on:,} later ones",
    )
    chosen = found.chosen
    if chosen is None:
        kept = "The live schedule is the best one found."
        report.verdict(kept if found.keeps_live else "No schedule is quick enough.", "unsure")
    else:
        report.verdict(describe(chosen.schedule), "good" if chosen.gain.low > 0 else "neutral")
        report.figures(
            {
                found.measure: found.score_text(chosen.score),
                "compared with live": found.gain_text(chosen.gain),
                "p99 (ms)": chosen.p99_ms,
                "p99 of live (ms)": found.live.p99_ms,
                "default": share(chosen.default_share),
                "schedules tried": found.tried,
            }
        )
    report.heading("Findings")
    report.paragraphs(found.sentences())
    report.chart(frontier(found))
    report.heading("Schedules")
    report.table(*schedules_table(found))
    if found.price is not None:
        report.heading("The price of a millisecond")
        report.table(*found.price.table())
    add_promise(report, promises)
    add_limits(report, found.remarks)
    return report


def _point(name: str, point: Point, *, is_chosen: bool = False) -> FrontierPoint:
    return FrontierPoint(name, point.p99_ms.estimate, point.score, is_chosen)
