"""Show the gate's verdict on a promotion as a page."""

from __future__ import annotations

from collections.abc import Sequence

from rdv.analysis.charts import Report
from rdv.analysis.charts.page import Tone
from rdv.analysis.compare.result import Comparison
from rdv.analysis.compare.view import finished, summary_figures
from rdv.analysis.promote.result import Judgement, Verdict

_TONES: dict[Verdict, Tone] = {
    "pass": "good", "marginal": "unsure", "fail": "bad", "unknown": "neutral",
}  # fmt: skip


def promote_page(
    judgement: Judgement,
    found: Comparison,
    diff: Sequence[str],
    decision: str,
    promises: Sequence[str] = (),
) -> str:
    """Return HTML as one file; `promises` are sentences about the quality that is promised."""
    champion, challenger = found.first.name, found.second.name
    report = Report(f"Promotion of {challenger} over {champion}", decision)
    report.verdict(f"Verdict of the gate: {judgement.verdict}", _TONES[judgement.verdict])
    report.figures(summary_figures(found))
    if promises:
        report.paragraphs(promises)
    report.heading("Checks")
    rows = [[check.name, check.verdict, check.text] for check in judgement.checks]
    report.table(["check", "verdict", "finding"], rows, "Checks of the gate")
    changes = [[line] for line in diff if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    report.table(["line"], changes, "Change of the live schedule")
    return finished(report, found).html()
