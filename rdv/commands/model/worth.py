"""Implement `rdv model worth`."""

from __future__ import annotations

from typing import Annotated

import typer

from rdv.commands.options import (
    Decision,
    Json,
    Metric,
    On,
    Quiet,
    Since,
    Until,
    given_schedule,
    span_ns,
)
from rdv.commands.output import Output, Progress
from rdv.commands.pages import finish, print_table

EXAMPLES = (
    "rdv model worth fraud",
    "rdv model worth fraud --since 7d --metric accuracy",
    "rdv model worth fraud --json | jq '{model, advice}'",
)


def worth(
    directory: Decision,
    *,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The schedule that mixes the models: a file, or the name of one in DIR. Default: "
            "the live one.",
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    metric: Metric = None,
    on: On = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what each model costs, and what would be lost without it.

    How long it evaluates, how often it answered, how often it rescued an answer (the champion was
    late or failed), how often it is right where the champion is wrong, and what the mix of the
    schedule would lose without it, with 95 % intervals by key. Advice (keep, retire, sample at 5 %,
    try to promote) is given only where the intervals support it.
    """
    from rdv.analysis.dataset.places import Recorded
    from rdv.analysis.worth.study import worth as study
    from rdv.decision import load_decision
    from rdv.decision.schedules import read_schedule

    decision = load_decision(directory)
    wanted = read_schedule(decision) if schedule is None else given_schedule(decision, schedule)
    since_ns, until_ns = span_ns(since, until)
    with Recorded(directory) as recorded, Progress("decided {:,} requests") as progress:
        found = study(
            recorded,
            wanted,
            since_ns,
            until_ns,
            outcome=decision.outcome,
            metric=metric or "",
            value=decision.value,
            on=on,
            canaries=[name for name, one in decision.models.items() if one.builtin == "canary"],
            progress=progress.advance,
        )
    output = Output(as_json=as_json, quiet=quiet)
    if as_json:
        for row in found.as_json():
            output.json(row)
        return
    print_table(*found.table(), output, f"{found.schedule.label}, {found.requests:,} requests")
    output.text()
    finish(output, found.sentences(), (), found.caveats())
