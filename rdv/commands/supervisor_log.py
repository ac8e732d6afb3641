"""Show what the supervisor and its processes report: on stderr, with a time and a prefix."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rdv.coded import with_code
from rdv.commands.terminal import Style, paint, printable

OWN = "rdv"
_STYLES: tuple[Style, ...] = ("cyan", "green", "yellow", "magenta", "blue")
_PREFIX_COLUMNS_MIN = 8


class SupervisorLog:
    """Writes lines at once, each process's in its colour; continues if stderr is closed.

    `names` are those of the processes, for the width of the prefix. `settled` is called once
    everything runs, with the processes that do not.
    """

    def __init__(
        self, names: list[str], settled: Callable[[list[str]], None] = lambda _: None
    ) -> None:
        self._columns = max([_PREFIX_COLUMNS_MIN, *(len(name) for name in names)])
        self._styles: dict[str, Style] = {OWN: "bold"}
        self._is_closed = False
        self.all_settled = settled

    def child_line(self, name: str, line: str) -> None:
        self._write(name, line)

    def own_line(self, line: str, code: str = "", about: str = "") -> None:
        """Show a line of the supervisor itself; `about` is in the record of the event only."""
        del about
        if not self._is_closed:
            self._write(OWN, with_code(line, code))

    def _write(self, name: str, text: str) -> None:
        style = self._styles.setdefault(name, _STYLES[len(self._styles) % len(_STYLES)])
        prefix = f"{time.strftime('%H:%M:%S')} {name.ljust(self._columns)} |"
        try:
            sys.stderr.write(f"{paint(prefix, style, sys.stderr)} {printable(text)}\n")
            sys.stderr.flush()
        except OSError:
            # The terminal or the reader of a pipe is gone: the decision continues.
            self._is_closed = True
