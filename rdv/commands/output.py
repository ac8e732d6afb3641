"""All output goes through one class: a table for people, JSON lines for programs, or nothing.

Data goes to stdout, messages to stderr. Off a terminal the output is plain, and rich is not even
imported. `Progress` is a line on stderr, on terminals only, and only after a second.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from rdv.commands.terminal import fit, has_color, is_terminal, paint, printable, width

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a table: `key` in JSON, `title` as the heading, `show` to format a value."""

    key: str
    title: str = ""
    right: bool = False
    show: Callable[[Any], str] = str

    @property
    def head(self) -> str:
        return self.title or self.key.replace("_", " ")

    def cell(self, row: Row) -> str:
        value = row.get(self.key)
        return "-" if value is None else printable(self.show(value))


def number(key: str, title: str = "", show: Callable[[Any], str] = "{:,}".format) -> Column:
    """Return a column of numbers."""
    return Column(key, title, right=True, show=show)


class Output:
    """The destination of a command's results."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.is_quiet = quiet and not as_json

    @property
    def is_human(self) -> bool:
        """Whether the output is for people: neither JSON nor quiet."""
        return not (self.as_json or self.is_quiet)

    def table(self, columns: Sequence[Column], rows: Iterable[Row], title: str = "") -> None:
        """Print rows as a table, or as JSON lines with all keys, also those without a column."""
        if self.as_json:
            for row in rows:
                self.json(row)
        elif not self.is_quiet:
            cells = [[column.cell(row) for column in columns] for row in rows]
            if title:
                self.text(paint(title, "bold", sys.stdout))
            if cells:
                (_rich_table if is_terminal(sys.stdout) else _plain_table)(columns, cells)

    def json(self, value: object) -> None:
        """Print one line of JSON on stdout."""
        import orjson

        sys.stdout.flush()
        line = orjson.dumps(value, default=_as_it_is, option=orjson.OPT_APPEND_NEWLINE)
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    def text(self, line: str = "") -> None:
        """Print a line for people on stdout; nothing with JSON or when quiet."""
        if self.is_human:
            sys.stdout.write(line + "\n")

    def note(self, line: str) -> None:
        """Print a message on stderr, apart from the data; nothing when quiet."""
        if not self.is_quiet:
            sys.stdout.flush()
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def _as_it_is(value: object) -> object:
    """Convert `msgspec.Raw`, which is JSON already and is printed byte for byte."""
    import msgspec
    import orjson

    if isinstance(value, msgspec.Raw):
        return orjson.Fragment(bytes(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _plain_table(columns: Sequence[Column], cells: list[list[str]]) -> None:
    lines = [[column.head.upper() for column in columns], *cells]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    for line in lines:
        padded = (
            text.rjust(width) if column.right else text.ljust(width)
            for column, text, width in zip(columns, line, widths, strict=True)
        )
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _rich_table(columns: Sequence[Column], cells: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        header_style="bold" if has_color(sys.stdout) else "",
    )
    for column in columns:
        table.add_column(column.head, justify="right" if column.right else "left", overflow="fold")
    for line in cells:
        table.add_row(*(Text(text) for text in line))
    sys.stdout.flush()
    Console(highlight=False).print(table)


_FIRST_S = 1.0
_EVERY_S = 0.1


class Progress:
    """Show `describe(done, total)`, or a text such as "done: {:,}"; erase it at the end."""

    def __init__(self, describe: Callable[[int, int], str] | str, total: int = 0) -> None:
        self._describe = describe.format if isinstance(describe, str) else describe
        self._total = total
        self._done = 0
        self._is_shown = False
        self._is_wanted = is_terminal(sys.stderr)
        self._next_s = time.monotonic() + _FIRST_S

    def advance(self, amount: int = 1) -> None:
        """Add `amount` to what is done; redraw the line at intervals."""
        self._done += amount
        if self._is_wanted and (now_s := time.monotonic()) >= self._next_s:
            self._next_s = now_s + _EVERY_S
            self._is_shown = True
            sys.stderr.write("\r\x1b[K" + fit(self._describe(self._done, self._total), width() - 1))
            sys.stderr.flush()

    def clear(self) -> None:
        """Erase the line, if it is shown."""
        if self._is_shown:
            self._is_shown = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()


@contextlib.contextmanager
def counting(description: str) -> Iterator[Callable[[int], None]]:
    """Show progress as `Progress` does; yield the function that counts it."""
    with Progress(description) as progress:
        yield progress.advance
