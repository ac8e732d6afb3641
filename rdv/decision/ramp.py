"""The state of a promotion in stages (`rdv promote --ramp`), kept where an interruption leaves it.

The share of the keys is that of the cohort in rdv.toml, and the schedule file says whether the
challenger is live; `.rdv/ramp.json` holds what these files do not say.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import msgspec

from rdv.decision.decision import RUN_DIRECTORY, Decision
from rdv.decision.edit import replace_file
from rdv.errors import ConflictFault, DataFault
from rdv.system.disk import Disk
from rdv.system.faults import faults

FILE_NAME = "ramp.json"
LOCK_NAME = "ramp.lock"


class RampBusy(ConflictFault):
    """Another process carries the ramp out."""

    directory: str

    _text = "another rdv promote carries a ramp of {directory} out"
    _hint = "Wait for it, or end it with Ctrl-C: the ramp stays where it is."


class RampUnreadable(DataFault):
    """The file with the state of a ramp cannot be read."""

    path: str
    reason: str

    _text = "{path}: {reason}"
    _hint = "Remove the cohort of the ramp from rdv.toml by hand, then this file."


class Ramp(msgspec.Struct, frozen=True, kw_only=True):
    """A challenger that replaces a champion in stages.

    `old` and `new` are the texts of the live schedule's file before and after.
    """

    champion: str
    challenger: str
    schedule: str
    """The name of the live schedule."""
    old: str
    new: str
    share: float = 0.0
    """The stage that has begun; 0: none yet."""
    began_ns: int = 0
    """When that stage began, by the wall clock."""
    looks: int = 0
    """How often the gate has judged this stage."""
    undo: str = ""
    """Why it is being taken back; empty if it is not."""

    @property
    def name(self) -> str:
        """The name of its cohort, and of the cohort's schedule."""
        return f"ramp-{self.challenger}"

    def replace(self, **changes: object) -> Ramp:
        """Return a copy with other values."""
        return msgspec.structs.replace(self, **changes)


def ramp_path(directory: str) -> str:
    return os.path.join(directory, RUN_DIRECTORY, FILE_NAME)


def read_ramp(directory: str) -> Ramp | None:
    """Return the ramp that has begun and not ended; None without one.

    Raises RampUnreadable, SystemFaults.
    """
    path = ramp_path(directory)
    try:
        with faults(path, "read"), contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=Ramp)
    except msgspec.DecodeError as error:
        raise RampUnreadable(path, str(error)) from None
    return None


def write_ramp(directory: str, ramp: Ramp) -> None:
    """Keep the state; it survives a power loss. Raises SystemFaults."""
    path = ramp_path(directory)
    with faults(path, "write"):
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        replace_file(path, msgspec.json.encode(ramp), durable=True)


def forget_ramp(directory: str) -> None:
    """Remove the state of a ramp that has ended. Raises SystemFaults."""
    path = ramp_path(directory)
    with faults(path, "remove"), contextlib.suppress(FileNotFoundError):
        os.unlink(path)


@contextlib.contextmanager
def ramp_lock(directory: str) -> Iterator[None]:
    """Hold the right to carry a ramp out; it ends with the process. Raises RampBusy."""
    path = os.path.join(directory, RUN_DIRECTORY, LOCK_NAME)
    with faults(path, "open"):
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not Disk().try_lock(fd):
            raise RampBusy(directory)
        yield
    finally:
        os.close(fd)


def ramp_share(decision: Decision, ramp: Ramp) -> float:
    """Return the share of the keys that the cohort in rdv.toml has; 0 without a cohort."""
    cohort = decision.cohorts.groups.get(ramp.name)
    return 0.0 if cohort is None else cohort.share
