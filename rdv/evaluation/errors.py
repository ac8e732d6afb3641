"""Define the errors of the evaluation. They are built from fields; the text is made in one
place.
"""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import DataFault, InputFault


@dataclass(eq=False)
class NothingRecorded(InputFault):
    """There is no log to learn from."""

    directory: str
    what: str = "requests"

    def text(self) -> str:
        return f"{self.directory} has no {self.what} on record"

    def hint(self) -> str:
        return f"Serve it first: rdv serve {self.directory}; or give another --since and --until."


@dataclass(eq=False)
class RequestNotFound(InputFault):
    """No request in the log has this id."""

    directory: str
    id: str
    begins: str
    """When the oldest record that is still there was appended; empty if there is none."""
    gaps: tuple[str, ...] = ()
    """What cannot be read of the input; the request may have been there."""

    def text(self) -> str:
        if self.gaps:
            lost = "; ".join(self.gaps)
            return f"no request {self.id!r} in what can be read of {self.directory}: {lost}"
        reach = f"the log goes back to {self.begins}" if self.begins else "the log is empty"
        return f"no request {self.id!r} in {self.directory}: {reach}"

    def hint(self) -> str:
        return "Ids are in the answers and in DIR/input; the last six digits are mostly enough."


@dataclass(eq=False)
class AmbiguousId(InputFault):
    """Several requests begin with these digits."""

    id: str
    found: tuple[str, ...]

    def text(self) -> str:
        return f"several requests begin with {self.id!r}: {', '.join(self.found)}, …"

    def hint(self) -> str:
        return "Give more digits."


@dataclass(eq=False)
class IdTooShort(InputFault):
    """The id has too few digits to search for."""

    id: str
    least: int

    def text(self) -> str:
        return f"{self.id!r} is too short for a request's id: give at least {self.least} characters"


@dataclass(eq=False)
class TooManyValues(InputFault):
    """Answers have more different values than a comparison can handle."""

    on: str
    limit: int

    def text(self) -> str:
        where = f"the field {self.on!r}" if self.on else "the answers"
        return f"{where} has more than {self.limit:,} different values"

    def hint(self) -> str:
        return "Name the field that decides, or a number: --on FIELD."


@dataclass(eq=False)
class DecisionsDiffer(DataFault):
    """`verify` has found decisions that the engine would not have made."""

    directory: str
    differing: int
    unanswered: int
    orphans: int

    def text(self) -> str:
        parts = [
            _counted(self.differing, "decision differs", "decisions differ"),
            _counted(self.unanswered, "request has no result", "requests have no result"),
            _counted(self.orphans, "result has no request", "results have no request"),
        ]
        return f"{self.directory}: {', '.join(part for part in parts if part)}"

    def hint(self) -> str:
        return f"Look at one: rdv explain {self.directory} ID"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}" if count else ""


@dataclass(eq=False)
class NothingToSearch(InputFault):
    """Too little is recorded to search for a schedule."""

    directory: str
    reason: str

    def text(self) -> str:
        return f"no schedule can be learned from {self.directory}: {self.reason}"


@dataclass(eq=False)
class NoScheduleFits(DataFault):
    """The search has found no schedule that is quick enough, so there is nothing to write."""

    p99_ms_max: float

    def text(self) -> str:
        return f"no schedule answers 99 % by {self.p99_ms_max:g} ms: nothing is written"

    def hint(self) -> str:
        return "Give a larger --p99."
