"""Define the errors of the statistics."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import InputFault


@dataclass(eq=False)
class InvalidSample(InputFault):
    """A statistic cannot be made of these values or with this setting."""

    name: str
    reason: str

    def text(self) -> str:
        return f"{self.name}: {self.reason}"
