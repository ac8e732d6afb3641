"""`rdv schedule …`: who is preferred, for how long, and what otherwise."""

from __future__ import annotations

from typing import ClassVar

from rdv.commands.lazy import Lazy, LazyGroup


class ScheduleGroup(LazyGroup):
    """Its commands, in the order of the help."""

    table: ClassVar[dict[str, Lazy]] = {
        "ls": Lazy("rdv.commands.schedule.ls:ls", "List the schedules, and who uses them."),
        "show": Lazy("rdv.commands.schedule.show:show", "Draw a schedule as a timeline."),
        "check": Lazy("rdv.commands.schedule.check:check", "Find mistakes in schedules."),
        "use": Lazy("rdv.commands.schedule.use:use", "Make another schedule the live one."),
    }
