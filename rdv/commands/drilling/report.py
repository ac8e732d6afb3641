"""Show a drill's report as a table, or as one JSON object."""

from __future__ import annotations

import sys
from typing import Any

from rdv.commands.output import Column, Output, number
from rdv.commands.terminal import paint
from rdv.drill.mix import Mix
from rdv.drill.run import DrillReport
from rdv.drill.verdict import Row

_COLUMNS = (
    Column("fault"),
    Column("part"),
    number("requests"),
    number("in_time"),
    number("apart"),
    number("refused"),
    number("before", show=str),
    number("during", show=str),
    number("after", show=str),
    Column("recovery"),
)


def summary(report: DrillReport, directory: str, load: str, grace_ms: float) -> dict[str, Any]:
    """Return the whole drill as one object."""
    return {
        "directory": directory,
        "load": load,
        "seconds": report.seconds,
        "requests": report.requests,
        "grace_ms": grace_ms,
        "client_latency_ms": report.client_ms,
        "timers_late_ms": report.timers_ms,
        "late_in_calm": report.verdict.late_in_calm,
        "left_out": report.left_out,
        "exercises": [_plain(row) for row in report.verdict.rows],
        "broken": report.verdict.broken,
        "summary": closing_sentence(report, grace_ms),
        "kept": report.kept or None,
    }


def _plain(row: Row) -> dict[str, Any]:
    return {
        "fault": row.fault,
        "part": row.part,
        "requests": row.requests,
        "answered": row.answered,
        "in_time": row.in_time,
        "refused": row.refused,
        "apart": row.apart,
        "before": row.before._asdict(),
        "during": row.during._asdict(),
        "after": row.after._asdict(),
        "recovery_ms": row.recovery_ms,
        "restart_ms": row.restart_ms,
        "skipped": row.skipped,
        "note": row.note,
    }


def render(report: DrillReport, output: Output, grace_ms: float) -> None:
    """Print the report for people."""
    rows = [_shown(row) for row in report.verdict.rows]
    output.table(_COLUMNS, rows)
    notes = {f"{r.fault} {r.part}": r.note for r in report.verdict.rows if r.note}
    output.text()
    output.text(
        paint(
            "in time: by the proxy's own clock, from reading the request to writing its answer, at "
            f"most SLA + {grace_ms:g} ms.",
            "dim",
            sys.stdout,
        )
    )
    output.text(
        paint(
            "apart: held by the proxy that was hurt, or sent to it before it was well. "
            "Mix: preferred/fallback/default.",
            "dim",
            sys.stdout,
        )
    )
    for exercise, note in notes.items():
        output.text(paint(f"{exercise}: {note}", "dim", sys.stdout))
    times = "   ".join(f"{name} {value:.2f} ms" for name, value in report.client_ms.items())
    output.text(f"{report.requests:,} requests in {report.seconds:.0f} s; clients waited {times}")
    late = report.timers_ms
    text = f"this machine: the drill's own timers were {late['p99']:.1f} ms late at p99, "
    text += f"{late['max']:.1f} ms at worst"
    if calm := report.verdict.late_in_calm:
        text += f"; late answers while nothing was hurt: {calm:,}"
    output.text(text)
    if report.left_out:
        output.text(f"never came up, and were left out: {', '.join(report.left_out)}")
    if report.kept:
        output.text(f"the copy is kept in {report.kept}")
    sentence = closing_sentence(report, grace_ms)
    output.text(paint(sentence, "red" if report.verdict.broken else "green", sys.stdout))


def closing_sentence(report: DrillReport, grace_ms: float) -> str:
    """Return a sentence with what was promised and what was observed."""
    rows = [row for row in report.verdict.rows if not row.skipped]
    requests, apart = sum(row.requests for row in rows), sum(row.apart for row in rows)
    in_time, refused = sum(row.in_time for row in rows), sum(row.refused for row in rows)
    broken = len(report.verdict.broken)
    kept = f"promises broken: {broken}" if broken else "every promise was kept"
    return (
        "Promised: every accepted request is answered once, marked, on record, within its SLA "
        f"+ {grace_ms:g} ms, whatever is hurt. Seen in {len(rows)} exercises: of {requests:,} "
        f"requests {in_time:,} answered in time, {refused:,} refused, {apart:,} held by a proxy "
        f"that was itself hurt; {kept}."
    )


def _shown(row: Row) -> dict[str, Any]:
    if row.skipped:
        return {"fault": row.fault, "part": row.part, "recovery": "left out"}
    back = "never" if row.recovery_ms is None else _time(row.recovery_ms)
    return {
        "fault": row.fault,
        "part": row.part,
        "requests": row.requests,
        "in_time": row.in_time,
        "apart": row.apart,
        "refused": row.refused,
        "before": row.before,
        "during": row.during if row.during.requests else Mix(),
        "after": row.after,
        "recovery": back,
    }


def _time(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"  # noqa: PLR2004
