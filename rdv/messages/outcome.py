"""What turned out to be true of a request: told later, by whoever gets to know it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from rdv.messages.codec import SCHEMA_VERSION, Id, TimeNs, decode_line, encode_line

SOURCE_CHARACTERS_MAX = 256


class Truth(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="v", tag=SCHEMA_VERSION
):
    """The outcome of one request. Of several for one id the latest counts (`Truth.time_ns`)."""

    id: Id
    """Of the request; nobody has checked that there is one."""

    outcome: msgspec.Raw
    """JSON: a bare value, or an object with the field that answers are compared by. `null` takes
    an earlier outcome back."""

    time_ns: TimeNs | None = None
    """Wall time when it was known; None: when it was appended."""

    source: str = ""
    """Who has told it: the address of an HTTP client, or `cli:` and the user's name. Empty: it was
    told to rdv 0.1.0."""


class ToldOutcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An outcome as people tell it: over HTTP, and in the files of `rdv outcome`."""

    id: Id
    outcome: msgspec.Raw
    time: TimeNs | str | None = None
    """When it was known: nanoseconds since 1970, or ISO (UTC unless it names a zone)."""

    def truth(self) -> Truth:
        """As it is recorded. Raises ValueError for a time that is none."""
        return Truth(self.id, self.outcome, _time_ns(self.time))


def told_by(source: str, truths: Iterable[Truth]) -> Iterator[Truth]:
    """The outcomes with their `Truth.source`."""
    source = source[:SOURCE_CHARACTERS_MAX]
    return (msgspec.structs.replace(truth, source=source) for truth in truths)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DECODER = msgspec.json.Decoder(Truth)


def _time_ns(given: int | str | None) -> int | None:
    if not isinstance(given, str):
        return given
    moment = datetime.fromisoformat(given.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    time_ns = (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    if time_ns < 0:
        raise ValueError("it is before 1970")
    return time_ns


def encode_truth(truth: Truth) -> bytes:
    """The outcome as one line. Thread-safe."""
    return encode_line(truth)


def decode_truth(line: bytes) -> Truth:
    """Read one line. Thread-safe. Raises MalformedMessage."""
    return decode_line(_DECODER, "outcome", line)
