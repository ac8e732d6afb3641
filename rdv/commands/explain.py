"""Implement `rdv explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.commands.options import Decision, Json
from rdv.commands.output import Column, Output, number
from rdv.commands.terminal import fit, printable, width
from rdv.commands.units import local_time

if TYPE_CHECKING:
    from rdv.analysis.explain import Explanation

EXAMPLES = (
    "rdv explain fraud 5ae4f27309242db1ca88000000000000",
    "rdv explain fraud 00002a --json | jq '.reports[]'",
)
_STEPS = (
    number("number", "step"),
    number("begin_ms", "from ms", "{:.3f}".format),
    number("end_ms", "to ms", "{:.3f}".format),
    Column("accepts", show=", ".join),
    Column("eligible", "had answered", show=lambda names: ", ".join(names) or "none"),
    Column("ended"),
)
_REPORTS = (
    Column("model"),
    Column("version"),
    number("arrived_ms", "arrived ms", "{:.3f}".format),
    Column("outcome"),
    Column("text", "answer, or reason"),
    Column("code", show=lambda code: code or "-"),
    number("queue_ms", "queue ms", "{:.2f}".format),
    number("evaluation_ms", "evaluation ms", "{:.2f}".format),
    number("batch_size", "batch"),
)


def explain(
    directory: Decision,
    request_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="A request's id; its first or last 6 digits will do."),
    ],
    *,
    as_json: Json = False,
) -> None:
    """Explain an answer: arrivals, steps, and the answers of the other models.

    Also scores that came too late. Times are from the start of the request. The arrival of a late
    score is not recorded: it is estimated from when the score was appended.
    """
    from rdv.analysis.dataset.places import Recorded
    from rdv.api import studies
    from rdv.decision import load_decision

    load_decision(directory)
    with Recorded(directory) as recorded:
        found = studies.explain(recorded, request_id, local_time)
    output = Output(as_json=as_json)
    if as_json:
        output.json(found.as_json())
    else:
        _render(found, output)


def _render(found: Explanation, output: Output) -> None:
    from rdv.analysis.explain.facts import Shown, explain_facts
    from rdv.analysis.explain.timeline import draw_arrivals
    from rdv.analysis.explain.view import explain_notes

    for name, text in explain_facts(found, Shown(when=local_time)):
        output.text(f"{name:<8}  {fit(printable(text), max(20, width() - 10))}")
    output.text()
    if found.answer is not None:
        answer = {
            "waited_ms": found.answer.waited_ms,
            "kind": found.answer.kind,
            "model": found.answer.model,
            "trace": [
                {
                    "model": report.model,
                    "arrived_ms": report.arrived_ms,
                    "outcome": f"{report.outcome}, too late" if report.is_late else report.outcome,
                }
                for report in found.reports
                if report.arrived_ms is not None and report.outcome is not None
            ],
        }
        sla_ms = None if found.schedule is None else found.schedule.sla_ms
        for line in draw_arrivals(answer, sla_ms, width()):
            output.text(printable(line))
        output.text()
    output.table(_STEPS, [vars(step) for step in found.steps])
    if found.steps:
        output.text()
    output.table(_REPORTS, [_report_row(vars(report)) for report in found.reports])
    for line in explain_notes(found):
        output.note(line)


def _report_row(report: dict[str, Any]) -> dict[str, Any]:
    text = report["detail"]
    if report["answer"] is not None:
        text = bytes(report["answer"]).decode(errors="replace")
    outcome = report["outcome"] or "nothing"
    if report["is_chosen"] or report["is_late"]:
        outcome += ", chosen" if report["is_chosen"] else ", too late"
    return report | {"text": fit(text, 40), "outcome": outcome}
