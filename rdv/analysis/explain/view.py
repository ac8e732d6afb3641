"""Show one request: a waterfall of its reports, its steps, its answer."""

from __future__ import annotations

from typing import Any

from rdv.analysis.charts import Report
from rdv.analysis.charts.lanes import Dot, Lane, Lanes
from rdv.analysis.charts.page import Tone
from rdv.analysis.explain.facts import Shown, explain_facts
from rdv.analysis.explain.result import Explanation
from rdv.analysis.explain.result import Report as Reported
from rdv.analysis.whatif.lanes import schedule_lanes
from rdv.rendezvous.messages import result_code

SHOWN_MAX = 20
TONES: dict[str, Tone] = {"preferred": "good", "fallback": "unsure", "default": "bad"}


def explain_report(found: Explanation, shown: Shown | None = None) -> Report:
    """Return the report."""
    report = Report(f"Request {found.request.id}")
    add_explanation(report, found, shown or Shown())
    return report


def add_explanation(report: Report, found: Explanation, shown: Shown) -> None:
    """Add why the request got its answer: verdict, waterfall, reports, steps, facts."""
    answer = found.answer
    if answer is None:
        report.verdict("No result is recorded.", "bad")
    else:
        by = f" by {answer.model}" if answer.model else ""
        reason = f": {shown.words(answer.reason)}" if answer.reason else ""
        report.verdict(f"{answer.kind}{by}{reason}", TONES[answer.kind])
        report.figures(
            {
                "answer": shown.json(answer.result),
                "waited (ms)": f"{answer.waited_ms:.3f}",
                "schedule": f"{answer.schedule}, step {answer.step or 'none'}",
                "code": result_code(answer) or None,
            }
        )
    if (chart := waterfall(found)) is not None:
        report.chart(chart)
    report.table(["fact", "value"], explain_facts(found, shown), "Facts")
    report.table(*reports_table(found, shown), "Reports")
    if found.steps:
        report.table(*steps_table(found), "Steps")
    report.bullets(explain_notes(found))


def explain_notes(found: Explanation) -> list[str]:
    """Return what is lacking in the record, one sentence each."""
    notes = []
    if found.schedule is None and found.answer is not None:
        notes.append(f"schedule {found.answer.schedule} is no longer in the log: no steps")
    if found.down:
        notes.append(f"known to be down: {', '.join(found.down)}")
    return notes + found.notes.gaps


def waterfall(found: Explanation) -> Lanes | None:
    """Return the schedule with each model's report on it; None without schedule and reports."""
    arrived = [one for one in found.reports if one.arrived_ms is not None][:SHOWN_MAX]
    names = [one.model for one in found.reports][:SHOWN_MAX]
    answer = None if found.answer is None else found.answer.waited_ms
    latest = max((one.arrived_ms or 0.0 for one in arrived), default=0.0)
    dots = {
        one.model: [Dot(one.arrived_ms or 0.0, one.outcome == "result", one.is_chosen, _said(one))]
        for one in arrived
    }
    title = "Reports after the start of the request"
    if found.schedule is None:
        if not arrived:
            return None
        lanes = tuple(Lane(name, dots=tuple(dots.get(name, ()))) for name in names)
        return Lanes(title, 1.1 * max(latest, answer or 0.0, 1.0), lanes, answer=answer)
    end = max(found.schedule.sla_ms, min(1.05 * latest, 2 * found.schedule.sla_ms))
    note = (
        "A bar: the model is accepted, a darker one: it is preferred. A dot: an answer, a ring: "
        "the one that was given, a cross: no answer. The black line: the client was answered."
    )
    return schedule_lanes(
        title, found.schedule, names, dots=dots, answer=answer, end=end, note=note
    )


def _said(one: Reported) -> str:
    return f"{one.model}: {_outcome(one)} after {one.arrived_ms:.3f} ms"


def reports_table(
    found: Explanation, shown: Shown | None = None
) -> tuple[list[str], list[list[Any]]]:
    """Return (columns, rows) of the reports, in order of arrival."""
    shown = shown or Shown()
    columns = ["model", "version", "arrived (ms)", "outcome", "answer, or reason", "code"]
    rows: list[list[Any]] = [
        [
            one.model,
            one.version,
            one.arrived_ms,
            _outcome(one),
            shown.words(one.detail) if one.answer is None else shown.json(one.answer),
            one.code,
        ]
        for one in found.reports
    ]
    return columns, rows


def steps_table(found: Explanation) -> tuple[list[str], list[list[Any]]]:
    """Return (columns, rows) of the schedule's steps."""
    columns = ["step", "from (ms)", "to (ms)", "accepts", "had answered", "ended"]
    rows: list[list[Any]] = [
        [one.number, one.begin_ms, one.end_ms, ", ".join(one.accepts),
         ", ".join(one.eligible) or "none", one.ended]
        for one in found.steps
    ]  # fmt: skip
    return columns, rows


def _outcome(one: Reported) -> str:
    outcome = one.outcome or "nothing"
    return outcome + (", chosen" if one.is_chosen else ", too late" if one.is_late else "")
