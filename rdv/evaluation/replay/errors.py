"""Define the errors of a replay. They are built from fields; the text is made in one place."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import DataFault, InputFault


@dataclass(eq=False)
class ModelKeepsEnding(DataFault):
    """The model's process has ended, or had to be ended, too often to continue."""

    name: str
    times: int
    how: str

    def text(self) -> str:
        return f"{self.name} was given up after it had ended {self.times} times: {self.how}"

    def hint(self) -> str:
        return "Its errors so far are in the output file (-o); its own words are above."


@dataclass(eq=False)
class NoArchive(InputFault):
    """The decoy has no archive."""

    directory: str
    name: str

    def text(self) -> str:
        return f"{self.directory} has no archive of a decoy called {self.name!r}"

    def hint(self) -> str:
        return "A decoy keeps one in DIR/decoy/NAME: rdv model add DIR archive --builtin decoy"
