"""These are the errors of schedules. Each has fields, from which its text is made in one place."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import InputFault


@dataclass(eq=False)
class InvalidSchedule(InputFault):
    """A schedule cannot be used. `where` is its file or origin, `key` the place in it."""

    where: str
    key: str
    reason: str
    suggestion: str = ""

    def text(self) -> str:
        place = f"{self.where}: {self.key}" if self.key else self.where
        return f"{place}: {self.reason}"

    def hint(self) -> str:
        return self.suggestion


@dataclass(eq=False)
class InvalidShares(InputFault):
    """The shares of cohorts are not valid shares."""

    cohort: str
    reason: str

    def text(self) -> str:
        return f"share of cohort {self.cohort!r}: {self.reason}" if self.cohort else self.reason

    def hint(self) -> str:
        return "Shares are between 0 and 1 and together at most 1; the rest gets the live schedule."
