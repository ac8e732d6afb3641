"""Define the errors of an export. They are built from fields; the text is made in one place."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import ConflictFault, DataFault, InputFault


@dataclass(eq=False)
class OutputInUse(InputFault):
    """The output directory contains something that is not an export."""

    directory: str
    example: str
    in_the_way: bool
    """Whether it is where a table would go; then --force does not help."""

    def text(self) -> str:
        return f"{self.directory} has something else in it: {self.example}"

    def hint(self) -> str:
        if self.in_the_way:
            return "Give a new directory: that would be replaced."
        return "Give a new directory; or --force, which leaves it where it is."


@dataclass(eq=False)
class ExportUnderWay(ConflictFault):
    """Another export writes into the same directory."""

    directory: str

    def text(self) -> str:
        return f"another export is writing into {self.directory}"


@dataclass(eq=False)
class UnknownTable(InputFault):
    """There is no such table."""

    name: str
    known: tuple[str, ...]

    def text(self) -> str:
        return f"there is no table {self.name!r}; there are {', '.join(self.known)}"


@dataclass(eq=False)
class RecordsMissing(DataFault):
    """The export is complete except for records that are damaged."""

    directory: str
    damaged: int
    gaps: tuple[str, ...]

    def text(self) -> str:
        records = "one damaged record" if self.damaged == 1 else f"{self.damaged:,} damaged records"
        return f"{self.directory} is without {records}: {'; '.join(self.gaps)}"

    def hint(self) -> str:
        return "All the rest is exported. See what is damaged: rdv stream verify"
