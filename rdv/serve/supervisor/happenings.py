"""Events that the supervisor derives: its own start and stop, and trouble in status lines."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
from collections import deque
from collections.abc import Iterator, Sequence

import rdv
from rdv.codes import EventKind
from rdv.decision import Decision
from rdv.decision.events import TEXT_CHARS_MAX, Event, kind_of, user_name
from rdv.errors import RdvError
from rdv.status.lines import SILENT_NS, StatusLine
from rdv.system.command_line import command_line

_FULL = tuple(os.strerror(code).lower() for code in (errno.ENOSPC, errno.EDQUOT))
_STATES: frozenset[EventKind] = frozenset(("breaker_opened", "disk_full", "registry"))
"""The kinds of events that trouble in a status line can be; the others are ends of processes."""
_ERROR = re.compile(r"(?:[\w.-]+: )?([A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt)\b.*)")
"""The last line of a traceback, perhaps behind the name of a model's command."""
LINES_MAX = 20
NAMES_MAX = 1_000
"""How many processes are kept, the newest."""


def started_event(decision: Decision) -> Event:
    """Return the event of a start of `rdv serve`."""
    return Event(
        kind="serve_started",
        message=f"rdv serve {rdv.__version__} starts (process {os.getpid()})",
        about=decision.directory,
        by=command_line(),
        user=user_name(),
        pid=os.getpid(),
    )


def stopped_event(decision: Decision, signals: Sequence[str], error: BaseException | None) -> Event:
    """Return the event of an end of `rdv serve`: by a signal, or because of an error."""
    received = signals[0] if signals else ""
    if isinstance(error, RdvError):
        why = error.text()
    elif error is not None:
        why = f"{type(error).__name__}: {error}"
    else:
        why = received or "all processes are started again"
    return Event(
        kind="serve_stopped",
        message=f"rdv serve stops: {why}",
        about=decision.directory,
        pid=os.getpid(),
        signal=received,
    )


class Said:
    """Keeps the newest lines of a process, for the one that says why it ended."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LINES_MAX)

    def add(self, line: str) -> None:
        """Add a line; those that are indented belong to a traceback, whose last line is not."""
        if line and not line[0].isspace():
            self._lines.append(line[:TEXT_CHARS_MAX])

    def why(self, code: int) -> str:
        """Return the line that says why it ended with this exit code, and forget all lines.

        That is the newest error of Python among them, unless a signal has ended the process; else
        the last one.
        """
        lines = list(self._lines)
        self._lines.clear()
        found = map(_ERROR.fullmatch, lines if code >= 0 else [])
        errors = [match[1] for match in found if match]
        return next(reversed(errors or lines), "")


def end_event(
    name: str, why: str, text: str, pid: int, code: int, said: str, retry_ms: float | None
) -> Event:
    """Return the event of a process that ended unasked.

    `why` is the code of the trouble, `code` the exit code, `said` the process's last line; None for
    `retry_ms` if it is not started again before an edit.
    """
    return Event(
        kind=kind_of(why),
        code=why,
        message=text,
        about=name,
        pid=pid,
        exit_code=code if code >= 0 else None,
        signal=signal_name(code),
        last_line=said,
        retry_ms=retry_ms,
    )


def signal_name(code: int) -> str:
    """Return the name of the signal of a negative exit code; empty for others."""
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name if code < 0 else ""
    return str(-code)


class Troubles:
    """Notices in status lines that the trouble of a process begins, changes or is over."""

    def __init__(self) -> None:
        self._codes: dict[str, str] = {}
        """By process, the code of its trouble now; empty: none."""

    def changes(self, line: StatusLine) -> Iterator[Event]:
        """Yield an event if a process reports another trouble than before."""
        code = line.trouble_code
        if code == "model_not_loaded":  # the end of its process says that
            code = ""
        before = self._codes.pop(line.name, "")
        self._codes[line.name] = code
        while len(self._codes) > NAMES_MAX:
            del self._codes[next(iter(self._codes))]
        if code == before:
            return
        if before == "model_unavailable":
            yield _event("breaker_closed", "", "its server is asked again", line)
        elif before:
            yield _event("trouble_over", "", f"{before} is over", line)
        if code:
            kind = kind_of(code)
            yield _event(kind if kind in _STATES else "trouble", code, line.trouble, line)


def _event(kind: EventKind, code: str, text: str, line: StatusLine) -> Event:
    message = f"{line.name}: {text}"
    return Event(
        kind=kind, code=code, message=message, about=line.name, model=line.model, pid=line.pid
    )


class DiskWatch:
    """Notices that the disk is full, by what processes report, and that it is not any more."""

    def __init__(self) -> None:
        self._reported_ns: int | None = None
        """When a process has last reported it; None while the disk is not full."""

    def line(self, name: str, line: str, now_ns: int) -> Event | None:
        """Return an event if a line of a process says first that the disk is full."""
        text = line.lower()
        if not any(phrase in text for phrase in _FULL):
            return None
        is_new, self._reported_ns = self._reported_ns is None, now_ns
        return Event(kind="disk_full", message=f"{name}: {line}", about=name) if is_new else None

    def look(self, now_ns: int) -> Event | None:
        """Return an event if no process has reported it for a while. Call it after a write."""
        if self._reported_ns is None or now_ns - self._reported_ns < SILENT_NS:
            return None
        self._reported_ns = None
        return Event(kind="disk_free", message="records can be written again")
