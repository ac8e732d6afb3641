"""Implement `rdv metrics dashboard`."""

from __future__ import annotations

from typing import Annotated

import typer

from rdv.commands.options import Decision

EXAMPLES = (
    "rdv metrics dashboard fraud > fraud.json",
    "rdv metrics dashboard fraud --across > decisions.json",
)


def dashboard(
    directory: Decision,
    *,
    across: Annotated[
        bool, typer.Option("--across", help="One of all decisions together, side by side.")
    ] = False,
) -> None:
    """Print a dashboard for Grafana, as JSON to import; it asks for the data source."""
    import orjson

    from rdv.commands.output import Output
    from rdv.console.dashboard import across_decisions, one_decision
    from rdv.decision import load_decision
    from rdv.decision.schedules import read_schedule

    decision = load_decision(directory)
    found = across_decisions() if across else one_decision(decision.name, read_schedule(decision))
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()
    Output(as_json=False, quiet=False).text(text)
