"""Show the gate's verdict on a promotion as a page."""

from __future__ import annotations

from collections.abc import Sequence

from rdv.analysis.charts import Report
from rdv.analysis.charts.page import Tone, add_limits
from rdv.analysis.compare.result import Comparison
from rdv.analysis.compare.view import add_models, charts_of, summary_figures
from rdv.analysis.promote.gate import Gate, Verdict

_TONES: dict[Verdict, Tone] = {
    "pass": "good", "marginal": "unsure", "fail": "bad", "unknown": "neutral",
}  # fmt: skip


def promote_page(gate: Gate, found: Comparison, diff: Sequence[str], decision: str) -> str:
    """Return HTML as one file."""
    champion, challenger = found.first.name, found.second.name
    report = Report(f"Promotion of {challenger} over {champion}", decision)
    report.verdict(f"Verdict of the gate: {gate.verdict}", _TONES[gate.verdict])
    report.figures(summary_figures(found))
    report.heading("Checks")
    rows = [[check.name, check.verdict, check.text] for check in gate.checks]
    report.table(["check", "verdict", "finding"], rows, "Checks of the gate")
    changes = [[line] for line in diff if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    report.table(["line"], changes, "Change of the live schedule")
    report.heading("Models")
    add_models(report, found)
    report.heading("Charts")
    for chart in charts_of(found):
        report.chart(chart)
    add_limits(report, found.caveats())
    return report.html()
