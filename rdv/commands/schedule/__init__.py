"""The group `rdv schedule …`: which model is preferred, and for how long."""

from __future__ import annotations

from typing import ClassVar

from rdv.commands.lazy import Lazy, LazyGroup


class ScheduleGroup(LazyGroup):
    """List the group's commands, in the order of the help."""

    table: ClassVar[dict[str, Lazy]] = {
        "ls": Lazy("rdv.commands.schedule.ls:ls", "List the schedules, and what uses them."),
        "show": Lazy("rdv.commands.schedule.show:show", "Draw a schedule as a timeline."),
        "check": Lazy("rdv.commands.schedule.check:check", "Find mistakes in schedules."),
        "use": Lazy("rdv.commands.schedule.use:use", "Make another schedule the live one."),
    }
