"""Show an experiment as a page."""

from __future__ import annotations

from rdv.evaluation.ab.charts import charts_of
from rdv.evaluation.ab.report import Experiment, arm_rows
from rdv.evaluation.pictures import Report
from rdv.evaluation.pictures.report import Tone
from rdv.evaluation.reports.remarks import add_remarks


def ab_page(found: Experiment, decision: str) -> str:
    """Return HTML as one file."""
    report = Report(f"The experiment in {decision}", f"Measured: {found.metric}")
    split, *said = found.sentences()
    report.verdict(split, "bad" if found.ratio.mismatch else "good")
    if said:
        report.verdict(said[0], _tone(found))
    for sentence in said[1:]:
        report.paragraph(sentence)
    columns, rows = arm_rows(found)
    report.table(columns, rows, "Cohorts")
    for chart in charts_of(found):
        report.chart(chart)
    add_remarks(report, found.caveats())
    return report.html()


def _tone(found: Experiment) -> Tone:
    effect = found.comparisons[0].effect
    if found.ratio.mismatch or effect is None or effect.finding in ("too early", "undecided"):
        return "unsure"
    return "neutral"
