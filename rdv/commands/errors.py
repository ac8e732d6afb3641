"""Define the errors of the command line itself. The log's errors are in `rdv.stream.errors`."""

from __future__ import annotations

from rdv.errors import ConflictFault, DataFault, InputFault


class InvalidOption(InputFault):
    """Options are invalid, or cannot be combined: wrong usage."""

    option: str
    reason: str
    advice: str = ""

    _text = "{option}: {reason}"

    def hint(self) -> str:
        return self.advice


class ConfirmationNeeded(InputFault):
    """Something is about to be deleted, and there is no terminal to ask for confirmation."""

    doing: str

    _text = "{doing} needs a confirmation"
    _hint = "Add --yes."


class GroupNotFound(InputFault):
    """The stream has no such consumer group."""

    path: str
    group: str

    _text = "no group {group!r} in {path}"
    _hint = "See what there is: rdv stream groups {path}"


class GroupHasMembers(ConflictFault):
    """A group's cursors must not be moved while it has members."""

    group: str
    members: int

    def text(self) -> str:
        noun = "member" if self.members == 1 else "members"
        return f"group {self.group!r} has {self.members} {noun}, which would overwrite the change"

    _hint = "Stop them first. To overrule this check: --force."


class DamageFound(DataFault):
    """`verify` has found damage."""

    address: str
    places: int
    records: int

    def text(self) -> str:
        places = "one damaged place" if self.places == 1 else f"{self.places} damaged places"
        records = "one record" if self.records == 1 else f"{self.records:,} records"
        effect = f"{records} cannot be read" if self.records else "all records can be read"
        return f"{places} in {self.address}: {effect}"

    _hint = "Repair it: rdv stream repair {address}  (keeps .broken copies)"


class NotJson(InputFault):
    """The data to send is not JSON, or not the JSON that is accepted: `verdict` is why."""

    what: str
    verdict: str
    advice: str = ""
    json_kind: str = ""
    """The error's code: `UnusableJson.kind`; empty for JSON of the wrong kind."""

    def code(self) -> str:
        return self.json_kind or super().code()

    _text = "{what} {verdict}"

    def hint(self) -> str:
        return self.advice


class ThresholdBroken(DataFault):
    """A run or a model has not met its limits; `broken` has a line with values for each."""

    broken: tuple[str, ...]

    def text(self) -> str:
        return "; ".join(self.broken)


class Unanswered(DataFault):
    """Requests of a load run got no decision; `why` has the reasons, with counts."""

    requests: int
    count: int
    why: tuple[str, ...]

    def text(self) -> str:
        return f"{self.count:,} of {self.requests:,} requests got no answer: {', '.join(self.why)}"


class TooManyColons(InputFault):
    """An address has too many colons (`a:b:c`), and there is no stream `a:b`."""

    path: str
    topic: str | None

    _text = "no stream at {path}"

    def hint(self) -> str:
        given = self.path if self.topic is None else f"{self.path}:{self.topic}"
        path, _, rest = self.path.partition(":")
        read = f"{given} is read as topic {self.topic!r} of the stream {self.path!r}"
        if self.topic is None:
            read = f"{given} is read as the stream of that name"
        return f"{read}. An address is PATH:TOPIC, with one colon: {path}:{rest or 'TOPIC'}"


class DecisionNotStream(InputFault):
    """The path is a decision's directory; `streams` are its streams, none before it is served."""

    path: str
    streams: tuple[str, ...]

    _text = "{path} is a decision, not a stream"

    def hint(self) -> str:
        if not self.streams:
            return f"It has no streams before it is served: rdv serve {self.path}"
        return f"Name one of its streams: {', '.join(self.streams)}"


class StreamsElsewhere(InputFault):
    """There is no stream at this path, but there are some in it or next to it."""

    path: str
    reason: str
    near: tuple[str, ...]

    _text = "no stream at {path} ({reason})"

    def hint(self) -> str:
        return f"There are: {', '.join(self.near)}"
