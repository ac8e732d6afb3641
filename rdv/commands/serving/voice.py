"""The supervisor reports on stderr, with a time, a prefix and a colour for each process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rdv.commands.terminal import Style, paint, printable
from rdv.serve.supervisor.control import Control
from rdv.serve.supervisor.plan import Part

OWN = "rdv"
_STYLES: tuple[Style, ...] = ("cyan", "green", "yellow", "magenta", "blue")
_PREFIX_COLUMNS_MIN = 8


class StderrVoice:
    """Writes lines at once; continues without error if stderr is closed."""

    def __init__(self, names: list[str], *, quiet: bool = False) -> None:
        self._columns = max([_PREFIX_COLUMNS_MIN, *(len(name) for name in names)])
        self._styles: dict[str, Style] = {OWN: "bold"}
        self._quiet = quiet
        self.control: Control | None = None
        self.own_pids: Callable[[], list[int]] = list
        self.settled: Callable[[list[str]], None] = lambda _: None

    def child_line(self, part: Part, line: str) -> None:
        self._write(part.name, line)

    def own_line(self, line: str) -> None:
        self._write(OWN, line)

    def model_state(self, model: str, *, is_up: bool) -> None:
        if self.control is not None:
            self.control.model_state(model, is_up=is_up, own_pids=self.own_pids())

    def all_settled(self, missing: list[str]) -> None:
        self.settled(missing)

    def _write(self, name: str, text: str) -> None:
        if self._quiet and name == OWN:
            return
        style = self._styles.setdefault(name, _STYLES[len(self._styles) % len(_STYLES)])
        prefix = f"{time.strftime('%H:%M:%S')} {name.ljust(self._columns)} |"
        try:
            sys.stderr.write(f"{paint(prefix, style, sys.stderr)} {printable(text)}\n")
            sys.stderr.flush()
        except OSError:
            # The terminal or the reader of a pipe is gone: the decision continues.
            self._quiet = True
