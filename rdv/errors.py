"""The root of every error that rdv raises, split by whose fault it is.

An error carries fields, not prose: its text is made in `text`, what to do about it in
`hint`; `code` names it for programs. The faults decide the exit code
(`rdv.commands.exits`) and the HTTP status.
"""

from __future__ import annotations

import re

_WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class RdvError(Exception):
    """Root of all errors of rdv. Catch this to catch everything that rdv raises on purpose."""

    def code(self) -> str:
        """A name for programs that never changes: `InvalidSchedule` is `invalid_schedule`.

        A class that is renamed keeps its code by overriding this.
        """
        return code_of(type(self))

    def text(self) -> str:
        """What is wrong, in one sentence that names the thing."""
        return self.__class__.__name__

    def hint(self) -> str:
        """What to do next; empty when there is nothing to suggest."""
        return ""

    def __str__(self) -> str:
        hint = self.hint()
        return f"{self.text()}\n{hint}" if hint else self.text()


class InputFault(RdvError):
    """The caller gave something that cannot be used: a bad name, a missing path, a bad value."""


class DataFault(RdvError):
    """What is stored is not what was written, or is not there any more."""


class SystemFault(RdvError):
    """The machine refused: disk full, no permission, too many open files, a failed sync."""


class ConflictFault(RdvError):
    """Another process is in the way: it holds a lock, or has taken over."""


class UsageFault(RdvError):
    """The program's own misuse of an object: a closed producer, a consumer without a group."""


HTTP_STATUSES: dict[type[RdvError], int] = {
    InputFault: 422,
    DataFault: 500,
    SystemFault: 503,
    ConflictFault: 503,
    UsageFault: 500,
}
"""The one table from an error to an HTTP status; that of exit codes is `rdv.commands.exits`."""


def code_of(error: type[RdvError]) -> str:
    """The code of a class of errors."""
    return _WORD_BEGINS.sub("_", error.__name__).lower()


def http_status(error: RdvError) -> int:
    """The HTTP status of the first fault in the table that `error` is an instance of."""
    return next(
        (status for fault, status in HTTP_STATUSES.items() if isinstance(error, fault)), 500
    )
