"""Add what limits a report's figures, at its end."""

from __future__ import annotations

from collections.abc import Sequence

from rdv.evaluation.pictures import Report


def add_remarks(report: Report, remarks: Sequence[str]) -> None:
    """Add one paragraph for each remark; no heading without any."""
    if remarks:
        report.heading("What to know about these figures")
        for remark in remarks:
            report.paragraph(remark)
