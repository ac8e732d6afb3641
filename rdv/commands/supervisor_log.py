"""Show what the supervisor and its processes report: on stderr, and in a file where asked for."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rdv.coded import CodeFormatter, with_code
from rdv.commands.terminal import Style, paint, printable

if TYPE_CHECKING:
    from rdv.decision import Decision
    from rdv.system.rotating_file import RotatingFile

OWN = "rdv"
_STYLES: tuple[Style, ...] = ("cyan", "green", "yellow", "magenta", "blue")
_PREFIX_COLUMNS_MIN = 8
_CODED = re.compile(r"(?P<text>.*) \[(?P<code>[a-z][a-z0-9_-]+)\]")


class SupervisorLog:
    """Writes lines at once, each process's in its colour; continues if stderr is closed.

    `names` are those of the processes, for the width of the prefix. `settled` is called once
    everything runs, with the processes that do not. [logging] of `decision` says in which form
    lines are written, and to which file.
    """

    def __init__(
        self,
        names: list[str],
        settled: Callable[[list[str]], None] = lambda _: None,
        decision: Decision | None = None,
    ) -> None:
        self._columns = max([_PREFIX_COLUMNS_MIN, *(len(name) for name in names)])
        self._styles: dict[str, Style] = {OWN: "bold"}
        self._is_closed = False
        self._file: RotatingFile | None = None
        self._has_failed = False
        self._form = "text" if decision is None else decision.logging.format
        if decision is not None and decision.logging.file:
            self._file = _opened(decision)
        self.is_json = self._form == "json" and self._file is None
        """Whether the lines on stderr are JSON."""
        self.all_settled = settled

    def child_line(self, name: str, line: str) -> None:
        found = _CODED.fullmatch(line)
        text, code = (found["text"], found["code"]) if found else (line, "")
        self._write(name, line, text, code)

    def own_line(self, line: str, code: str = "", about: str = "") -> None:
        """Show a line of the supervisor itself; `about` is in the record of the event only."""
        del about
        self._write(OWN, with_code(line, code), line, code)

    def _write(self, name: str, shown: str, text: str, code: str) -> None:
        """Write a line as it is `shown` to people; for JSON as its text and its code."""
        if self._file is not None:
            line = (
                self._json(name, text, code) if self._form == "json" else self._plain(name, shown)
            )
            self._to_file(line)
        if self._is_closed and name == OWN:
            return
        line = self._json(name, text, code) if self.is_json else self._painted(name, shown)
        self._to_stderr(line)

    def _painted(self, name: str, text: str) -> str:
        style = self._styles.setdefault(name, _STYLES[len(self._styles) % len(_STYLES)])
        prefix = f"{time.strftime('%H:%M:%S')} {name.ljust(self._columns)} |"
        return f"{paint(prefix, style, sys.stderr)} {printable(text)}\n"

    def _plain(self, name: str, text: str) -> str:
        return f"{_now()} {name.ljust(self._columns)} | {printable(text)}\n"

    def _json(self, name: str, text: str, code: str) -> str:
        import orjson

        line = {"time": _now(), "process": name, "level": "warning" if code else "info"}
        more = {"code": code} if code else {}
        text = text.encode("utf-8", "backslashreplace").decode()
        return orjson.dumps({**line, **more, "message": text}).decode() + "\n"

    def _to_stderr(self, line: str) -> None:
        try:
            sys.stderr.write(line)
            sys.stderr.flush()
        except OSError:
            # The terminal or the reader of a pipe is gone: the decision continues.
            self._is_closed = True

    def _to_file(self, line: str) -> None:
        assert self._file is not None
        error = self._file.write(line.encode("utf-8", "backslashreplace"))
        if error is not None and not self._has_failed:
            self._has_failed = True
            text = f"the log cannot be written to its file: {error.strerror or error}"
            self._to_stderr(self._painted(OWN, with_code(text, "not_recorded")))
        elif error is None and self._has_failed:
            self._has_failed = False
            lost, self._file.lost = self._file.lost, 0
            text = f"{lost:,} lines of the log could not be written to this file"
            self._write(OWN, with_code(text, "not_recorded"), text, "not_recorded")


class _Handler(logging.Handler):
    """Passes what this process logs to a SupervisorLog."""

    def __init__(self, log: SupervisorLog) -> None:
        super().__init__()
        self._log = log
        self.setFormatter(CodeFormatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        for line in self.format(record).splitlines():
            self._log.child_line(OWN, line)


def log_to(log: SupervisorLog) -> None:
    """Log what this process reports to `log`; RDV_LOGGING sets the level."""
    level = os.environ.get("RDV_LOGGING", "INFO").upper()
    logging.basicConfig(level=level, handlers=[_Handler(log)])
    logging.getLogger("watchfiles").setLevel(logging.WARNING)


def _now() -> str:
    """Return the time in UTC, as 2026-05-01T14:30:00.123456Z."""
    from rdv.commands.units import iso_time

    return iso_time(time.time_ns())


def _opened(decision: Decision) -> RotatingFile:
    """Open the file of the log. Raises SystemFaults."""
    from rdv.system.faults import faults
    from rdv.system.rotating_file import RotatingFile

    path = decision.path(decision.logging.file)
    with faults(path, "write"):
        return RotatingFile(
            path, decision.logging.bytes_max, decision.logging.files_max, decision.log.file_mode
        )
