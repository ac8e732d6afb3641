"""The root of every error that rdv raises, split by whose fault it is.

An error carries fields, not prose: its text is made in `text`, what to do about it in
`hint`. The faults decide the exit code (`rdv.commands.exits`) and, later, the HTTP status.
"""

from __future__ import annotations


class RdvError(Exception):
    """Root of all errors of rdv. Catch this to catch everything that rdv raises on purpose."""

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
