"""An outcome states what turned out to be true of a request; it is reported later."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import msgspec

from rdv.moment import counts_from_ns, known_since_ns
from rdv.rendezvous.messages.codec import SCHEMA_VERSION, Id, TimeNs, decode_line, encode_line

SOURCE_CHARACTERS_MAX = 256

_ID = re.compile(r" *[!-~]+ *")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{32}")


class Truth(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="v", tag=SCHEMA_VERSION
):
    """A `Truth` is the outcome of one request. Of several for one id the latest counts.

    `counts_from_ns` gives their order.
    """

    id: Id
    """The id of the request; it is not checked that the request exists."""

    outcome: msgspec.Raw
    """The outcome as JSON: a bare value, or an object with the field that answers are compared by.
    `null` withdraws an earlier outcome."""

    time_ns: TimeNs | None = None
    """The wall time in nanoseconds when it was known; None: when it was appended."""

    source: str = ""
    """Its source: an HTTP client's address, or `cli:` and the user's name; empty for rdv 0.1.0."""

    def counts_from_ns(self, append_ns: int) -> int:
        """Return since when it counts: its own time, but never later than its append."""
        return counts_from_ns(self.time_ns, append_ns)


class ReportedOutcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A `ReportedOutcome` is an outcome as given over HTTP, and in the files of `rdv outcome`."""

    id: Id
    outcome: msgspec.Raw
    time: int | str | None = None
    """The time when it was known: nanoseconds since 1970, or ISO (UTC unless it names a zone)."""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError("an id has letters, digits and signs of ASCII, and no space in it")

    def truth(self, now_ns: int) -> Truth:
        """Return the outcome as it is recorded. Raises InvalidMoment for an impossible time."""
        time_ns = None if self.time is None else known_since_ns(self.time, now_ns)
        id_ = self.id.strip()
        if _HEXADECIMAL.fullmatch(id_):
            id_ = id_.lower()  # some databases write UUIDs and hashes in upper case
        return Truth(id_, self.outcome, time_ns)


def with_source(source: str, truths: Iterable[Truth]) -> Iterator[Truth]:
    """Return the outcomes with their `Truth.source` set to `source`."""
    source = source[:SOURCE_CHARACTERS_MAX]
    return (msgspec.structs.replace(truth, source=source) for truth in truths)


encode_truth: Callable[[Truth], bytes] = encode_line
"""Encode it as one line. Thread-safe."""

decode_truth: Callable[[bytes], Truth] = partial(
    decode_line, msgspec.json.Decoder(Truth), "outcome"
)
"""Read one line. Thread-safe. Raises MalformedMessage."""
