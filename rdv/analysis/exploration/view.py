"""Show on a report which outcomes are known by the answer given, and what the randomised say."""

from __future__ import annotations

from rdv.analysis.charts import Report
from rdv.analysis.exploration.result import Explored


def add_exploration(report: Report, found: Explored | None) -> None:
    """Add the label coverage and the estimates; nothing if there are no outcomes."""
    if found is None:
        return
    report.heading("Known outcomes")
    report.table(*found.coverage_table(), "Known outcomes by the answer given")
    if found.policies:
        report.table(*found.table(), "By randomised requests")
    report.paragraphs(found.sentences())
