"""Implement `rdv schedule use`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.options import Decision, Json, Quiet
from rdv.commands.output import Output

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig
    from rdv.rendezvous.schedule import Schedule

EXAMPLES = ("rdv schedule use fraud fast-first", "rdv schedule use fraud production")


def use(
    directory: Decision,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in schedules/NAME.toml.")],
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Use it even if `check` finds errors.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make another schedule the live one.

    A running decision uses it at once: requests in flight keep the schedule that they came in with;
    none is lost. It is written into rdv.toml, whose comments and order stay.
    """
    from rdv.decision import load_decision, set_live_schedule
    from rdv.decision.holder import holder_of
    from rdv.decision.schedules import read_schedule
    from rdv.decision.switch import switch

    decision = load_decision(directory, {})
    schedule = read_schedule(decision, name)
    _refuse_errors(decision, schedule, force=force)
    output = Output(as_json=as_json, quiet=quiet)
    if holder_of(directory) is None or decision.schedule == name:
        set_live_schedule(directory, name)
        took_ms = None
    else:
        took_ms = switch(decision, schedule, lambda: set_live_schedule(directory, schedule.name))
    if as_json:
        output.json({"schedule": name, "hash": schedule.content_hash, "live_after_ms": took_ms})
    if took_ms is not None:
        output.text(f"live after {took_ms:.0f} ms: {schedule.label} (was {decision.schedule})")
    else:
        output.text(f"live: {schedule.label} (was {decision.schedule})")


def _refuse_errors(decision: DecisionConfig, schedule: Schedule, *, force: bool) -> None:
    from rdv.decision.schedules import lint
    from rdv.errors import NotUsable
    from rdv.serve.observer import known_models

    found = lint(decision, schedule, known_models(decision))
    errors = [finding for finding in found if finding.severity == "error"]
    if errors and not force:
        advice = "Correct it, or use it anyway with --force."
        raise NotUsable(decision.schedule_path(schedule.name), str(errors[0]), advice)
