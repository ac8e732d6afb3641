"""Errors of a replay. Fields first; the text is made from them in one place."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import DataFault, InputFault


@dataclass(eq=False)
class ModelKeepsEnding(DataFault):
    """The model's process has ended, or had to be ended, too often to go on."""

    name: str
    times: int
    how: str

    def text(self) -> str:
        return f"{self.name} was given up after it had ended {self.times} times: {self.how}"

    def hint(self) -> str:
        return "Its errors so far are in the output file (-o); its own words are above."


@dataclass(eq=False)
class NoArchive(InputFault):
    """There is no archive of a decoy."""

    directory: str
    name: str

    def text(self) -> str:
        return f"{self.directory} has no archive of a decoy called {self.name!r}"

    def hint(self) -> str:
        return "A decoy keeps one in DIR/decoy/NAME: rdv model add DIR archive --builtin decoy"
