"""Changes the recorded states of models that come from a registry."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from rdv.decision.edit import locked, replace_file
from rdv.decision.registry import RegistryState, read_state, state_path
from rdv.system.faults import faults


def change_state(
    directory: str, name: str, change: Callable[[RegistryState | None], RegistryState]
) -> RegistryState:
    """Replace a model's state by what `change` makes of it; edits of processes are serialized.

    Raises DecisionBusy, SystemFaults, and what `change` raises.
    """
    path = state_path(directory, name)
    with locked(directory):
        before = read_state(directory, name)
        after = change(before)
        if after != before:
            with faults(path, "write"):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                replace_file(path, msgspec.json.encode(after), 0o644, durable=True)
    return after
