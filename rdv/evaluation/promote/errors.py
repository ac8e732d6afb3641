"""Define the errors of promotions."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import InputFault


@dataclass(eq=False)
class CannotExchange(InputFault):
    """The schedule has no place at which one model could be replaced by another."""

    where: str
    reason: str

    def text(self) -> str:
        return f"{self.where}: {self.reason}"

    def hint(self) -> str:
        return "Edit the schedule by hand; a running decision takes it over at once."
