"""Changes the recorded states of models that come from a registry."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import msgspec

from rdv.decision.edit import locked, replace_file
from rdv.decision.registry import RegistryState, read_state, state_path
from rdv.errors import RdvError
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
            _write(path, msgspec.json.encode(after))
    return after


@contextlib.contextmanager
def declared_state(directory: str, name: str, new: RegistryState) -> Iterator[None]:
    """Record the state of a model that rdv.toml begins to name within the block.

    Until then no process uses it. If the block fails the state is as before. What an earlier model
    of this name still has to write to the registry is kept. The directory's lock must be held.
    Raises SystemFaults.
    """
    path = state_path(directory, name)
    before = read_state(directory, name)
    if before is not None:
        new = msgspec.structs.replace(new, write_backs=before.write_backs)
    with faults(path, "read"):
        try:
            with open(path, "rb") as file:
                text: bytes | None = file.read()
        except FileNotFoundError:
            text = None
    _write(path, msgspec.json.encode(new))
    try:
        yield
    except BaseException:
        if text is None:
            with contextlib.suppress(OSError):  # the first error is reported, not this one
                os.unlink(path)
        else:
            with contextlib.suppress(RdvError):
                _write(path, text)
        raise


def _write(path: str, text: bytes) -> None:
    with faults(path, "write"):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        replace_file(path, text, 0o644, durable=True)
