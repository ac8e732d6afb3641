"""Define the errors of comparisons."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import InputFault, did_you_mean


@dataclass(eq=False)
class ModelNotRecorded(InputFault):
    """No score of this model is recorded."""

    directory: str
    model: str
    known: tuple[str, ...]

    def text(self) -> str:
        return f"no score of a model {self.model!r} is on record in {self.directory}"

    def hint(self) -> str:
        there = f"There are scores of {', '.join(self.known) or 'no model'}."
        return f"{there} {did_you_mean(self.model, self.known)}".rstrip()


@dataclass(eq=False)
class SameModel(InputFault):
    """A model cannot be compared with itself."""

    model: str

    def text(self) -> str:
        return f"{self.model!r} cannot be compared with itself"
