"""Map errors to exit codes, by one table, and show errors."""

from __future__ import annotations

import contextlib
import sys

from rdv.commands.errors import InvalidOption, ThresholdBroken
from rdv.commands.terminal import paint, utf8
from rdv.errors import (
    ConflictFault,
    DataFault,
    InputFault,
    RdvError,
    SystemFault,
    Unreachable,
    UsageFault,
)
from rdv.named_times import InvalidQuantity

FINE = 0
FAILED = 1
USAGE = 2
"""The command line is wrong: an option, an argument, a value, or their combination."""
INVALID = 3
"""The command line is right, but a file, a name or a setting that it names cannot be used."""
UNREACHABLE = 4
"""The decision's server does not answer."""
THRESHOLD = 99
"""`rdv load`: a --fail-if condition came true; `rdv promote`: the gate was not passed, or the
promotion was rolled back; `rdv regress`: a limit is broken, or cannot be judged.
"""
INTERRUPTED = 130
PIPE_CLOSED = 141
"""The exit code of a program ended by SIGPIPE: the reader of the output has closed the pipe."""

EXIT_CODES: dict[type[RdvError], int] = {
    Unreachable: UNREACHABLE,
    ThresholdBroken: THRESHOLD,
    InvalidOption: USAGE,
    InvalidQuantity: USAGE,
    InputFault: INVALID,
    DataFault: FAILED,
    SystemFault: FAILED,
    ConflictFault: FAILED,
    UsageFault: FAILED,
}


def exit_code(error: RdvError) -> int:
    """Return the exit code of the first fault in the table that `error` is an instance of."""
    return next((code for fault, code in EXIT_CODES.items() if isinstance(error, fault)), FAILED)


def show_error(text: str, hint: str = "", code: str = "", *, as_json: bool = False) -> None:
    """Show `error: …` and what to do about it on stderr; one line of JSON for programs."""
    if as_json:
        _show_error_json(text, hint, code)
        return
    lines = [f"{paint('error:', 'red', sys.stderr)} {text}"]
    if hint:
        lines.append(paint(hint, "dim", sys.stderr))
    with contextlib.suppress(OSError):  # the error may be that stdout has failed
        sys.stdout.flush()
    sys.stderr.write("\n".join(lines) + "\n")


def _show_error_json(text: str, hint: str, code: str) -> None:
    """Show `{"error": {"code", "message", "hint"}}`, the shape of the HTTP server's errors."""
    import orjson

    error = {"code": code, "message": utf8(text)} | ({"hint": utf8(hint)} if hint else {})
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.stderr.write(orjson.dumps({"error": error}).decode() + "\n")


class PipeClosedError(Exception):
    """A BrokenPipeError in a form that typer does not turn into a failure."""
