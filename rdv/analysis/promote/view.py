"""Show a gate's verdict as a page."""

from __future__ import annotations

from collections.abc import Sequence

from rdv.analysis.charts import Report
from rdv.analysis.charts.page import Tone, add_remarks
from rdv.analysis.compare.result import Comparison
from rdv.analysis.compare.view import charts_of, models_table
from rdv.analysis.promote.gate import Gate, Verdict

_TONES: dict[Verdict, Tone] = {
    "pass": "good", "marginal": "unsure", "fail": "bad", "unknown": "neutral",
}  # fmt: skip


def promote_page(gate: Gate, found: Comparison, diff: Sequence[str], decision: str) -> str:
    """Return HTML as one file."""
    champion, challenger = found.first.name, found.second.name
    report = Report(f"{challenger} in the place of {champion}", decision)
    report.verdict(f"The gate says: {gate.verdict}", _TONES[gate.verdict])
    rows = [[check.name, check.verdict, check.text] for check in gate.checks]
    report.table(["check", "verdict", "what is on record"], rows, "Checks")
    changes = [[line] for line in diff if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    report.table(["change of the live schedule"], changes)
    report.table(*models_table((found.first, found.second)), caption="Both models")
    for chart in charts_of(found):
        report.chart(chart)
    add_remarks(report, found.caveats())
    return report.html()
