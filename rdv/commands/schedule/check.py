"""Implement `rdv schedule check`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.commands.exits import FAILED, FINE, INVALID
from rdv.commands.options import Decision, Json, Quiet
from rdv.commands.output import Output
from rdv.commands.terminal import Style, paint

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig
    from rdv.rendezvous.schedule import Finding

EXAMPLES = (
    "rdv schedule check fraud",
    "rdv schedule check fraud production",
    "rdv schedule check fraud --json",
)
_STYLES: dict[str, Style] = {"error": "red", "invalid": "red", "warning": "yellow"}


def check(
    directory: Decision,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]…", help="The schedules to check. Default: all."),
    ] = None,
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find mistakes in schedules.

    For example unreachable steps, waits beyond the SLA, unknown models, no default; and outcomes
    that count at an age that the log does not reach.

    Exit codes: 0 when there are no errors (warnings do not count), 1 when there are, 3 when a file
    cannot be read as a schedule at all, or when there is no schedule or not the live one.
    """
    from rdv.decision import ScheduleNotFound, load_decision, schedule_names

    decision = load_decision(directory)
    known = schedule_names(directory)
    if not names and decision.schedule not in known:
        raise ScheduleNotFound(directory, decision.schedule, known)
    wanted = names or list(known)
    output = Output(as_json=as_json, quiet=quiet)
    worst = FINE
    for row in _findings(decision, wanted):
        severity = row["severity"]
        worst = max(worst, {"invalid": INVALID, "error": FAILED}.get(severity, FINE))
        if as_json:
            output.json(row)
        elif severity != "fine" or not quiet:
            text = f"{row['schedule']}: {row['text']}"
            style = _STYLES.get(severity)
            sys.stdout.write((paint(text, style, sys.stdout) if style else text) + "\n")
    if worst:
        raise typer.Exit(worst)


def _findings(decision: DecisionConfig, names: list[str]) -> Iterator[dict[str, Any]]:
    from rdv.decision.schedules import lint, lint_settings, read_schedule
    from rdv.rendezvous.schedule import InvalidSchedule
    from rdv.serve.observer import known_models

    known = known_models(decision)
    for name in names:
        try:
            schedule = read_schedule(decision, name)
        except InvalidSchedule as error:
            hint = error.hint()
            text = f"{error.text()}. {hint}" if hint else error.text()
            row = {"schedule": name, "severity": "invalid", "key": error.key}
            yield {**row, "code": error.code(), "text": text}
            continue
        found = lint(decision, schedule, known)
        yield from (_row(name, finding) for finding in found)
        if not found:
            yield {"schedule": name, "severity": "fine", "text": "fine"}
    yield from (_row(os.path.basename(decision.file), one) for one in lint_settings(decision))


def _row(name: str, finding: Finding) -> dict[str, Any]:
    return {
        "schedule": name,
        "severity": finding.severity,
        "key": finding.key,
        "code": finding.code,
        "text": str(finding),
    }
