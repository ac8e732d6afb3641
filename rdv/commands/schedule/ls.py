"""Implement `rdv schedule ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdv.commands.options import Decision, Json
from rdv.commands.output import Column, Output, number

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig

EXAMPLES = ("rdv schedule ls fraud",)
_COLUMNS = (
    Column("schedule"),
    Column("used"),
    number("sla_ms", "SLA ms", "{:,g}".format),
    Column("steps", show=lambda steps: " → ".join(", ".join(step) for step in steps)),
    Column("hash"),
    Column("fault"),
)


def ls(directory: Decision, *, as_json: Json = False) -> None:
    """List the schedules, and what uses them."""
    from rdv.decision import load_decision, schedule_names

    decision = load_decision(directory)
    rows = [_row(decision, name) for name in schedule_names(directory)]
    has_faults = any("fault" in row for row in rows)
    columns = [column for column in _COLUMNS if has_faults or column.key != "fault"]
    Output(as_json=as_json).table(columns, rows)


def _row(decision: DecisionConfig, name: str) -> dict[str, Any]:
    from rdv.decision.schedules import read_schedule, users_of
    from rdv.errors import RdvError

    row: dict[str, Any] = {"schedule": name, "used": ", ".join(users_of(decision, name)) or None}
    try:
        schedule = read_schedule(decision, name)
    except RdvError as error:
        return row | {"fault": error.text()}
    return row | {
        "sla_ms": schedule.sla_ms,
        "steps": [step.accept for step in schedule.steps],
        "hash": schedule.content_hash,
    }
