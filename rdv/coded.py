"""A sentence with its code, and the form that both have in a log.

A line of a log that names a refusal, a loss or trouble ends with a code in brackets:

    server-0 | 12 results lost: cannot write to fraud/results: disk full [results_lost]

Of several lines (a traceback, a hint) the first has it. Lines without a code only inform, or come
from a model or its libraries. `rdv.codes` lists the codes.
"""

from __future__ import annotations

import logging
from typing import NamedTuple, Protocol, Self

from rdv.codes import EventCode, ReportCode
from rdv.errors import RdvError


class Coded(NamedTuple):
    """A `Coded` is a sentence for people with its code for programs; both are empty for none."""

    code: str
    text: str
    about: str = ""
    """The file, process or model that it is about, where there is one."""

    def line(self) -> str:
        """Return it in the form of a line in a log."""
        return with_code(self.text, self.code)


NO_FAULT = Coded("", "")


class CodedText(str):
    """A `CodedText` is a sentence that carries its code, for where a plain sentence is expected."""

    __slots__ = ("code",)
    code: str

    def __new__(cls, code: str, text: str) -> Self:
        made = super().__new__(cls, text)
        made.code = code
        return made


class ShowLine(Protocol):
    """Shows a line; with a code it names trouble, `about` a file, a process or a model."""

    def __call__(self, line: str, code: str = "", about: str = "", /) -> None: ...


def of_error(error: RdvError) -> Coded:
    """Return the error's text, without its hint, its code, and the file that it is about."""
    return Coded(error.code(), error.text(), str(getattr(error, "where", "")))


def with_code(text: str, code: str) -> str:
    """Return the text with the code at the end of its first line; unchanged without a code."""
    if not code:
        return text
    first, line_break, rest = text.partition("\n")
    return f"{first} [{code}]{line_break}{rest}"


def coded(why: EventCode | ReportCode | RdvError | Coded) -> dict[str, str]:
    """Return the argument `extra` of a logging call, which gives the line its code."""
    if isinstance(why, RdvError):
        return {"code": why.code()}
    return {"code": why.code if isinstance(why, Coded) else why}


class CodeFormatter(logging.Formatter):
    """Formats a record as its message with its code."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the library's name
        return with_code(super().formatMessage(record), getattr(record, "code", ""))
