"""Draw charts of an experiment.

Show an experiment as a page.
"""

from __future__ import annotations

import numpy as np

from rdv.analysis.ab.result import Experiment, arm_rows
from rdv.analysis.charts import Axis, Chart, Mix, Points, Report, Rule
from rdv.analysis.charts.page import Tone, add_remarks

_KINDS = ("preferred", "fallback", "default")


def charts_of(found: Experiment) -> list[Chart | Mix]:
    """Return all charts of the experiment."""
    rows = tuple(
        (arm.name, tuple(float(arm.kinds.get(kind, 0)) for kind in _KINDS)) for arm in found.arms
    )
    drawn: list[Chart | Mix] = [Mix("What the cohorts were told", _KINDS, rows)]
    if (chart := effects_chart(found)) is not None:
        drawn.append(chart)
    return drawn


def effects_chart(found: Experiment) -> Chart | None:
    """Return a chart of each effect with its interval, by cohorts and by pairs."""
    scale = 100.0 if found.is_share else 1.0
    marks = []
    for name, shift in (("by cohorts", -0.1), ("by pairs", 0.1)):
        effects = [
            (n, one.effect if name == "by cohorts" else one.paired)
            for n, one in enumerate(found.comparisons, start=1)
        ]
        known = [(n, e) for n, e in effects if e is not None and e.difference.bounded]
        if not known:
            continue
        values = [
            scale * np.array([getattr(effect.difference, end) for _, effect in known])
            for end in ("estimate", "low", "high")
        ]
        labels = tuple(effect.treatment for _, effect in known)
        at = np.array([n + shift for n, _ in known])
        marks.append(Points(name, at, values[0], values[1], values[2], labels))
    if not marks:
        return None
    unit = "points" if found.is_share else ""
    x = Axis("cohort", low=0.5, high=len(found.comparisons) + 0.5)
    y = Axis(f"change of {found.metric}", unit)
    title = f"Against {found.comparisons[0].control}, with intervals"
    return Chart(title, x, y, (*marks, Rule("no change", 0.0, "y")))


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
