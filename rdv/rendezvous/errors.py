"""These are the errors of the engine."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import InputFault


@dataclass(eq=False)
class UnknownSchedule(InputFault):
    """The live schedule is not among the schedules."""

    name: str
    known: tuple[str, ...]

    def text(self) -> str:
        return f"there is no schedule {self.name!r}; there are: {', '.join(self.known) or 'none'}"
