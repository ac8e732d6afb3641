"""Read the schedule that a command is given: a file, or the name of one of the decision's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdv.config import Decision
    from rdv.schedule import Schedule


def given_schedule(decision: Decision, text: str) -> Schedule:
    """Return the given schedule. Raises InvalidSchedule, NotUsable, ScheduleNotFound,
    SystemFaults.
    """
    from rdv.commands.files import need_file
    from rdv.commands.serving.check import read_schedule
    from rdv.schedule import schedule_from_toml
    from rdv.stream.file.disk import faults

    if text.endswith(".toml") or os.path.dirname(text):
        need_file("--schedule", text)
    if not os.path.isfile(text):
        return read_schedule(decision, text)
    name = os.path.splitext(os.path.basename(text))[0]
    with faults(text, "read"), open(text, encoding="utf-8", errors="replace") as file:
        return schedule_from_toml(file.read(), name, text)
