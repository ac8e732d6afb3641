"""The errors of the studies: a class for each, since commands and tests use their fields."""

from __future__ import annotations

from rdv.errors import ConflictFault, DataFault, InputFault, did_you_mean


class NothingRecorded(InputFault):
    """There is no log to learn from."""

    directory: str
    what: str = "requests"

    _text = "{directory} has no recorded {what}"
    _hint = "Serve it first: rdv serve {directory}; or give another --since and --until."


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

    _hint = "Ids are in the answers and in DIR/input; the last six digits are mostly enough."


class AmbiguousId(InputFault):
    """Several requests begin with these digits."""

    id: str
    found: tuple[str, ...]

    def text(self) -> str:
        return f"several requests begin with {self.id!r}: {', '.join(self.found)}, …"

    _hint = "Give more digits."


class IdTooShort(InputFault):
    """The id has too few digits to search for."""

    id: str
    least: int

    _text = "{id!r} is too short for a request's id: give at least {least} characters"


class TooManyValues(InputFault):
    """Answers have more different values than a comparison can handle."""

    on: str
    limit: int

    def text(self) -> str:
        where = f"the field {self.on!r}" if self.on else "the answers"
        return f"{where} has more than {self.limit:,} different values"

    _hint = "Name the field that decides, or a number: --on FIELD."


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

    _hint = "Look at one: rdv explain {directory} ID"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}" if count else ""


class NothingToSearch(InputFault):
    """Too little is recorded to search for a schedule."""

    directory: str
    reason: str

    _text = "no schedule can be learned from {directory}: {reason}"


class NoScheduleFits(DataFault):
    """The search has found no schedule that is quick enough, so there is nothing to write."""

    p99_ms_max: float

    _text = "no schedule answers 99 % by {p99_ms_max:g} ms: nothing is written"
    _hint = "Give a larger --p99."


class LiveIsBest(DataFault):
    """The search has found no schedule that is better than the live one."""

    why: str

    _text = "the live schedule is the best one found ({why}): nothing is written"
    _hint = "With a smaller --p99, a quicker one is chosen that may be right less often."


class NoExperiment(InputFault):
    """There are fewer than two cohorts, so there is nothing to compare."""

    directory: str

    _text = "{directory} has no cohorts: there is no experiment"
    _hint = "Name them in rdv.toml: [cohorts.NAME] with share and schedule."


class TooManyKeys(InputFault):
    """There are more keys than are kept in memory."""

    limit: int

    _text = "there are more than {limit:,} different keys"
    _hint = "Look at less at a time: --since and --until."


class NoMetric(InputFault):
    """No request has a value of the metric."""

    metric: str
    reason: str = ""

    def text(self) -> str:
        found = f"no request in a cohort has a value of {self.metric!r}"
        return f"{found}: {self.reason}" if self.reason else found

    _hint = (
        "There are right (needs outcomes), default, waited_ms, and the fields of outcomes; --on "
        "names the field of the answers that is compared with them."
    )


class ModelNotRecorded(InputFault):
    """No score of this model is recorded."""

    directory: str
    model: str
    known: tuple[str, ...]

    _text = "{directory} has no recorded score of a model {model!r}"

    def hint(self) -> str:
        there = f"There are scores of {', '.join(self.known) or 'no model'}."
        return f"{there} {did_you_mean(self.model, self.known)}".rstrip()


class SameModel(InputFault):
    """A model cannot be compared with itself."""

    model: str

    _text = "{model!r} cannot be compared with itself"


class OutputInUse(InputFault):
    """The output directory contains something that is not an export."""

    directory: str
    example: str
    in_the_way: bool
    """Whether it is where a table would go; then --force does not help."""

    _text = "{directory} contains something else: {example}"

    def hint(self) -> str:
        if self.in_the_way:
            return "Give a new directory: that would be replaced."
        return "Give a new directory; or --force, which leaves it where it is."


class ExportUnderWay(ConflictFault):
    """Another export writes into the same directory."""

    directory: str

    _text = "another export is writing into {directory}"


class UnknownTable(InputFault):
    """There is no such table."""

    name: str
    known: tuple[str, ...]

    def text(self) -> str:
        return f"there is no table {self.name!r}; there are {', '.join(self.known)}"


class RecordsMissing(DataFault):
    """The export is complete except for records that are damaged."""

    directory: str
    damaged: int
    gaps: tuple[str, ...]

    def text(self) -> str:
        records = "one damaged record" if self.damaged == 1 else f"{self.damaged:,} damaged records"
        return f"{self.directory} is without {records}: {'; '.join(self.gaps)}"

    _hint = "All the rest is exported. See what is damaged: rdv stream verify"


class CannotExchange(InputFault):
    """The schedule has no place at which one model could be replaced by another."""

    where: str
    reason: str

    _text = "{where}: {reason}"
    _hint = "Edit the schedule by hand; a running decision takes it over at once."


class ModelKeepsEnding(DataFault):
    """The model's process has ended, or had to be ended, too often to continue."""

    name: str
    times: int
    how: str

    _text = "{name} was given up after it had ended {times} times: {how}"
    _hint = "Its errors so far are in the output file (-o); what it printed is above."


class NoArchive(InputFault):
    """The decoy has no archive."""

    directory: str
    name: str

    _text = "{directory} has no archive of a decoy called {name!r}"
    _hint = "A decoy keeps one in DIR/decoy/NAME: rdv model add DIR archive --builtin decoy"
