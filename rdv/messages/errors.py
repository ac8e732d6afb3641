"""These are the errors of messages. Each has fields, from which its text is made in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rdv.errors import DataFault, InputFault

Noun = Literal["request", "score", "result", "outcome"]

_EXCERPT_BYTES = 120


@dataclass(eq=False)
class MalformedMessage(DataFault):
    """A record is not the message that it should be. `line` is the record's bytes."""

    noun: Noun
    reason: str
    line: bytes

    def text(self) -> str:
        return f"malformed {self.noun}: {self.reason}: {self.excerpt()}"

    def excerpt(self) -> str:
        """Return the beginning of the line, safe to print."""
        shown = self.line[:_EXCERPT_BYTES].decode("utf-8", "backslashreplace").strip()
        more = "…" if len(self.line) > _EXCERPT_BYTES else ""
        return f"{shown!r}{more}"


@dataclass(eq=False)
class InvalidModelResult(InputFault):
    """A model's return value cannot be sent as its result. `where` is the place inside of it."""

    where: str
    reason: str

    def text(self) -> str:
        return f"the model's {self.where} {self.reason}"

    def hint(self) -> str:
        return "A result is JSON: numbers (finite), strings, lists, objects, numpy arrays of them."
