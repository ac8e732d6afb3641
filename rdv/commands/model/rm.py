"""Implement `rdv model rm`."""

from __future__ import annotations

from rdv.commands.model.settings import Name
from rdv.commands.options import Decision, Json, Quiet
from rdv.commands.output import Output

EXAMPLES = ("rdv model rm fraud gbm",)


def rm(directory: Decision, name: Name, *, as_json: Json = False, quiet: Quiet = False) -> None:
    """Remove a model from rdv.toml.

    A running decision stops it; its code stays where it is. To keep it on record without running
    it, write retired = true instead.
    """
    from rdv.decision import remove_model
    from rdv.decision.schedules import read_schedule
    from rdv.errors import RdvError

    decision = remove_model(directory, name)
    output = Output(as_json=as_json, quiet=quiet)
    if as_json:
        output.json({"model": name, "removed": True})
    output.text(f"removed {name}")
    try:
        steps = read_schedule(decision).steps
    except RdvError:
        return
    if any(name in step.accept for step in steps):
        output.note(f"the live schedule still waits for it: {decision.schedule_path()}")
