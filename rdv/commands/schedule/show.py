"""Implement `rdv schedule show`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rdv.commands.options import Decision
from rdv.commands.output import Output
from rdv.commands.terminal import Style, paint, printable, width

EXAMPLES = (
    "rdv schedule show fraud",
    "rdv schedule show fraud fast-first",
    "rdv schedule show fraud --json",
)


def show(
    directory: Decision,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The schedule. Default: the live one.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print its content as JSON.")] = False,
) -> None:
    """Draw a schedule as a timeline.

    It shows which model's answer is accepted, and until when. A full block: the preferred model
    of that step. A light block: also accepted. A dot: not accepted yet, or no longer.
    """
    from rdv.decision import load_decision
    from rdv.decision.schedules import lint, read_schedule, users_of
    from rdv.rendezvous.schedule import draw_schedule
    from rdv.rendezvous.schedule.model import content
    from rdv.serve.observer import known_models

    decision = load_decision(directory)
    schedule = read_schedule(decision, name or "")
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": schedule.name, "hash": schedule.content_hash, **content(schedule)})
        return
    used = ", ".join(users_of(decision, schedule.name)) or "used by requests that name it"
    output.text(f"{paint(schedule.label, 'bold', sys.stdout)}  {used}")
    output.text()
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    for line in draw_schedule(schedule, min(width(), 120), ascii_only=ascii_only):
        output.text(printable(line))
    for finding in lint(decision, schedule, known_models(decision)):
        style: Style = "red" if finding.severity == "error" else "yellow"
        output.note(paint(str(finding), style, sys.stderr))
