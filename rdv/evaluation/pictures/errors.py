"""Define the errors of charts."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import InputFault


@dataclass(eq=False)
class InvalidChart(InputFault):
    """The data cannot be drawn."""

    name: str
    reason: str

    def text(self) -> str:
        return f"{self.name}: {self.reason}"
