"""All errors that rdv raises derive from `RdvError`, grouped by whose fault they are.

An error carries fields. `_text` is the template of its message and `_hint` that of what to do about
it, with the names of fields in braces; a class whose text depends on more overrides `text` or
`hint`. `code` names it for programs. The groups decide the exit code (`rdv.commands.exits`) and the
HTTP status. Every class is a dataclass without being declared one: its annotations are its fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, dataclass_transform

_WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class _Fields(dict[str, Any]):
    """The attributes of an error, for its templates."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __missing__(self, name: str) -> Any:
        return getattr(self._error, name)


@dataclass_transform(eq_default=False)
class RdvError(Exception):
    """`RdvError` is the root of all errors that rdv raises on purpose: catch it for all."""

    _text: ClassVar[str] = ""
    _hint: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        dataclass(eq=False)(cls)

    def code(self) -> str:
        """Return a name for programs that never changes: `InvalidSchedule` is `invalid_schedule`.

        A class that is renamed keeps its code by overriding this.
        """
        return code_of(type(self))

    def text(self) -> str:
        """Return what is wrong, in one sentence that names the cause."""
        return self._text.format_map(_Fields(self)) or self.__class__.__name__

    def hint(self) -> str:
        """Return what to do next; empty when there is nothing to suggest."""
        return self._hint.format_map(_Fields(self))

    def __str__(self) -> str:
        hint = self.hint()
        return f"{self.text()}\n{hint}" if hint else self.text()


class InputFault(RdvError):
    """The caller passed something that cannot be used: a bad name, a missing path, a bad value."""


class DataFault(RdvError):
    """Stored data is not what was written, or is missing."""


class SystemFault(RdvError):
    """The machine refused: disk full, no permission, too many open files, a failed sync."""


class ConflictFault(RdvError):
    """Another process is in the way: it holds a lock, or has taken over."""


class UsageFault(RdvError):
    """The program misuses an object: a closed producer, a consumer without a group."""


class NotUsable(InputFault):
    """The command line is right, but a file or another thing that it names cannot be used."""

    what: str
    reason: str
    advice: str = ""

    _text = "{what}: {reason}"

    def hint(self) -> str:
        return self.advice


class LineUnusable(InputFault):
    """A line of the input cannot become a record."""

    line: int
    reason: str
    advice: str = ""
    json_kind: str = ""
    """The error's code: `UnusableJson.kind` for JSON that is not accepted, else empty."""

    def code(self) -> str:
        return self.json_kind or super().code()

    _text = "line {line} of the input {reason}"

    def hint(self) -> str:
        return self.advice


class Unreachable(SystemFault):
    """No proxy answers at the decision's address."""

    directory: str
    address: str
    reason: str

    _text = "no answer from {directory} at {address}: {reason}"
    _hint = "Start it: rdv serve {directory}"


HTTP_STATUSES: dict[type[RdvError], int] = {
    InputFault: 422,
    DataFault: 500,
    SystemFault: 503,
    ConflictFault: 503,
    UsageFault: 500,
}
"""The only table from an error to an HTTP status; that of exit codes is `rdv.commands.exits`."""


def code_of(error: type[RdvError]) -> str:
    """Return the code of a class of errors."""
    return _WORD_BEGINS.sub("_", error.__name__).lower()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `Did you mean …?` with the known name that is most like `name`; empty without one."""
    import difflib

    near = difflib.get_close_matches(name.lower(), known, 1)
    return f"Did you mean {near[0]}?" if near else ""


def http_status(error: RdvError) -> int:
    """Return the HTTP status of the first fault in the table that `error` is an instance of."""
    return next(
        (status for fault, status in HTTP_STATUSES.items() if isinstance(error, fault)), 500
    )


class InputError(ValueError):
    """A model raises this when the input is at fault, not the model: `rdv.InputError("no age")`.

    It counts as the model's refusal of the row, with the code `bad_input`.
    """
