"""Show what a replay has found."""

from __future__ import annotations

from typing import Any

from rdv.analysis.charts import Report, share
from rdv.analysis.replay.result import Findings, Pace, per_row_ms, quantiles

_REASONS_SHOWN = 10


def replay_report(found: Findings) -> Report:
    """Return the report."""
    replayed = found.replayed
    report = Report(f"Replay of {replayed.name}", f"version {replayed.version}")
    batch = quantiles(replayed.batch_ms) or {}
    report.figures(
        {
            "requests": replayed.requests,
            "results": replayed.results,
            "errors": replayed.errors,
            "a request (ms)": per_row_ms(replayed),
            "a batch, p50 (ms)": batch.get("p50"),
            "a batch, p99 (ms)": batch.get("p99"),
        }
    )
    if found.pace is not None:
        report.table(["at the recorded pace", ""], _pace(found.pace))
    comparison = found.comparison
    if comparison is not None and comparison.requests:
        report.table(*_against(comparison), "Against the recorded answers")
        if sentences := list(comparison.sentences()):
            report.paragraphs(sentences)
    if replayed.reasons:
        rows: list[list[Any]] = [[t, n] for t, n in replayed.reasons.most_common(_REASONS_SHOWN)]
        report.table(["error", "count"], rows)
    if notes := replayed.notes.lines():
        report.bullets(notes)
    return report


def _pace(pace: Pace) -> list[list[Any]]:
    total = max(1, pace.requests)
    return [
        ["in time for the deadline", share(pace.in_time / total)],
        ["within its step of the schedule", share(pace.in_turn / total)],
        ["refused as behind", pace.behind],
        ["refused as expired", pace.expired],
        ["late", pace.late],
    ]


def _against(comparison: Any) -> tuple[list[str], list[list[Any]]]:
    rows: list[list[Any]] = []
    for one in comparison.against:
        count = one.pairs.count
        right = one.accuracy()
        same = share(one.pairs.equal / count) if count else None
        rows.append(
            [
                one.name or "(answers given)",
                count,
                same,
                None if right is None else share(right.estimate),
            ]
        )
    return ["against", "requests", "same", "right"], rows
