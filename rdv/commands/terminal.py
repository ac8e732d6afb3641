"""Find out what the terminal can do, and make text safe to show on it."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Literal, TextIO

from rdv.commands.errors import ConfirmationNeeded, InvalidOption

Style = Literal["red", "green", "yellow", "blue", "magenta", "cyan", "bold", "dim"]
_CODES: dict[Style, int] = {
    "bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35,
    "cyan": 36,
}  # fmt: skip


def is_terminal(stream: TextIO) -> bool:
    """Return whether this stream is a terminal."""
    try:
        return stream.isatty()
    except ValueError:  # it was closed
        return False


def has_color(stream: TextIO) -> bool:
    """Return whether to use colour: on a terminal that can, unless NO_COLOR is set."""
    return (
        is_terminal(stream)
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") not in ("", "dumb")
    )


def paint(text: str, style: Style, stream: TextIO) -> str:
    """Return `text` in a style if `stream` takes colour, else unchanged."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if has_color(stream) else text


def width() -> int:
    """Return the number of columns of the terminal."""
    return shutil.get_terminal_size().columns


def printable(text: str) -> str:
    r"""Return `text` with characters that are not printable as escapes (`\n`, `\x1b`).

    Values come from anywhere: they must not move the cursor or change the window's title.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def utf8(text: str) -> str:
    """Return a text that names a path, with bytes that are not UTF-8 as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def as_text(argument: str, what: str) -> str:
    """Return an argument of the command line as UTF-8, whatever the locale.

    Not for paths: those are passed to the system unchanged. Raises InvalidOption, which names the
    argument as `what`, for bytes that are not UTF-8.
    """
    try:
        return os.fsencode(argument).decode()
    except UnicodeDecodeError:
        raise InvalidOption(what, "is not UTF-8") from None


def fit(text: str, columns: int) -> str:
    """Return `text` cut to `columns`, with an ellipsis if something is cut."""
    if text.isascii():
        return text if len(text) <= columns else text[: max(0, columns - 1)] + "…"
    from rich.cells import cell_len, set_cell_size

    # No character takes more than two columns, so a long text need not be measured as a whole.
    text = text[: columns + 1]
    if cell_len(text) <= columns:
        return text
    return set_cell_size(text, max(0, columns - 1)) + "…"


def confirm(question: str, *, doing: str, yes: bool) -> bool:
    """Ask on a terminal; `yes` answers in advance. Raises ConfirmationNeeded off a terminal."""
    if yes:
        return True
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise ConfirmationNeeded(doing)
    sys.stdout.flush()
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
