"""Define the errors of `rdv drill`."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import DataFault, InputFault, SystemFault


@dataclass(eq=False)
class InvalidDrill(InputFault):
    """A setting of a drill, or a decision, cannot be used."""

    key: str
    reason: str
    advice: str = ""

    def text(self) -> str:
        return f"{self.key}: {self.reason}"

    def hint(self) -> str:
        return self.advice


@dataclass(eq=False)
class CopyNotServed(SystemFault):
    """The copy does not come up, or has ended; `said` is the last line of its output."""

    reason: str
    said: str

    def text(self) -> str:
        return f"the copy of the decision {self.reason}" + (f": {self.said}" if self.said else "")

    def hint(self) -> str:
        return "See whether the decision itself starts: rdv serve DIR"


@dataclass(eq=False)
class PromiseBroken(DataFault):
    """The drill has found promises that were not kept, one sentence each."""

    broken: tuple[str, ...]

    def text(self) -> str:
        return "; ".join(self.broken)

    def hint(self) -> str:
        return "Look at what the copy has written: the same drill with --keep"
