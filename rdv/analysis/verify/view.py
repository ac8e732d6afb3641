"""Show what a verification has found."""

from __future__ import annotations

from typing import Any

from rdv.analysis.charts import Report
from rdv.analysis.verify.result import Verification

SHOWN_MAX = 20


def counts(found: Verification) -> list[tuple[str, int]]:
    """Return what was counted, with the numbers."""
    return [
        ("requests", found.requests),
        ("decisions, the same again", found.same),
        ("answers by a proxy itself", found.own),
        ("decisions that differ", found.differing),
        ("requests without a result", found.unanswered),
        ("results without a request", found.notes.stray_count),
        *((f"not checked: {why}", count) for why, count in sorted(found.unchecked.items())),
    ]


def verify_report(found: Verification) -> Report:
    """Return the report."""
    report = Report("Every recorded decision, made again")
    if found.is_sound:
        report.verdict("All decisions follow from what is recorded.", "good")
    else:
        report.verdict("Some decisions do not follow from what is recorded.", "bad")
    report.table(["what", "count"], [list(row) for row in counts(found)])
    rows: list[list[Any]] = [
        [one.id, name, str(recorded), str(replayed)]
        for one in found.differences[:SHOWN_MAX]
        for name, (recorded, replayed) in one.fields.items()
    ]
    if rows:
        report.table(["request", "field", "recorded", "should be"], rows, "Differences")
    if remarks := found.remarks():
        report.bullets(remarks)
    return report
