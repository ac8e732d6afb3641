"""Errors of the load generator."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import InputFault


@dataclass(eq=False)
class InvalidThreshold(InputFault):
    """A `--fail-if` cannot be parsed."""

    given: str
    reason: str

    def text(self) -> str:
        return f"{self.given!r} is not a threshold: {self.reason}"

    def hint(self) -> str:
        return "For example p99>50ms, mean>=2ms, errors>0, misses>0.1%, default>5%."


@dataclass(eq=False)
class InvalidLoad(InputFault):
    """A setting of a load run cannot be used."""

    key: str
    reason: str

    def text(self) -> str:
        return f"{self.key}: {self.reason}"
