"""Errors of the pictures."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import InputFault


@dataclass(eq=False)
class InvalidChart(InputFault):
    """Data that a picture cannot be made of."""

    name: str
    reason: str

    def text(self) -> str:
        return f"{self.name}: {self.reason}"
