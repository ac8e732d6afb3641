"""Show an experiment: its charts, and its page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rdv.analysis.ab.result import Experiment, arm_rows
from rdv.analysis.charts import Axis, Chart, Mix, Points, Report, Rule, share, signed
from rdv.analysis.charts.kinds import kinds_mix
from rdv.analysis.charts.page import Tone, add_limits, add_promise

_SHIFTS = {"by cohorts": -0.1, "by pairs": 0.1}
"""The two kinds of effect, and how far they stand beside the middle of their cohort."""


def charts_of(found: Experiment) -> list[Chart | Mix]:
    """Return all charts of the experiment."""
    drawn: list[Chart | Mix] = [kinds_mix({arm.name: arm.kinds for arm in found.arms})]
    if (chart := effects_chart(found)) is not None:
        drawn.append(chart)
    return drawn


def effects_chart(found: Experiment) -> Chart | None:
    """Return a chart of each effect with its interval, by cohorts and by pairs."""
    scale = 100.0 if found.is_share else 1.0
    marks = []
    for name, shift in _SHIFTS.items():
        effects = [one.effect if name == "by cohorts" else one.paired for one in found.comparisons]
        known = [(n, e) for n, e in enumerate(effects) if e is not None and e.difference.bounded]
        if not known:
            continue
        estimates, low, high = (
            scale * np.array([getattr(effect.difference, end) for _, effect in known])
            for end in ("estimate", "low", "high")
        )
        marks.append(Points(name, np.array([n + shift for n, _ in known]), estimates, low, high))
    if not marks:
        return None
    x = Axis("cohort", categories=tuple(one.treatment for one in found.comparisons))
    y = Axis(f"change of {found.metric}", "points" if found.is_share else "")
    title = f"Effects compared with {found.comparisons[0].control}, with intervals"
    return Chart(title, x, y, (*marks, Rule("no change", 0.0, "y")), palette=tuple(_SHIFTS))


def ab_page(found: Experiment, decision: str, promises: Sequence[str] = ()) -> str:
    """Return HTML as one file; `promises` are sentences about the promised quality."""
    report = Report(f"Experiment: {decision}", f"Metric: {found.metric}")
    split, *sentences = found.sentences()
    report.verdict(split, "bad" if found.ratio.mismatch else "good")
    if sentences:
        report.verdict(sentences[0], _tone(found))
    report.figures(_figures(found))
    if len(sentences) > 1:
        report.heading("Findings")
        report.paragraphs(sentences[1:])
    add_promise(report, promises)
    report.heading("Cohorts")
    report.table(*arm_rows(found))
    report.charts(charts_of(found))
    add_limits(report, found.caveats())
    return report.html()


def _figures(found: Experiment) -> dict[str, object]:
    scale, unit = (100.0, "points") if found.is_share else (1.0, "")
    means = {
        f"{found.metric}: {arm.name}": share(arm.mean) if found.is_share and arm.mean else arm.mean
        for arm in found.arms[:4]
    }
    effects = {
        f"change by {one.treatment}": signed(one.effect.difference, scale=scale, unit=unit)
        for one in found.comparisons[:2]
        if one.effect is not None and one.effect.difference.bounded
    }
    return {**means, **effects}


def _tone(found: Experiment) -> Tone:
    effect = found.comparisons[0].effect
    if found.ratio.mismatch or effect is None or effect.finding in ("too early", "undecided"):
        return "unsure"
    return "neutral"
