"""Errors of the statistics."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import InputFault


@dataclass(eq=False)
class InvalidSample(InputFault):
    """Values or a setting that a statistic cannot be made of."""

    name: str
    reason: str

    def text(self) -> str:
        return f"{self.name}: {self.reason}"
