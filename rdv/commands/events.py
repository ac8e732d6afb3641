"""Implement `rdv events`: one time line of what happened to a decision."""

from __future__ import annotations

import sys
import textwrap
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from rdv.codes import EVENT_KINDS
from rdv.commands.errors import InvalidOption
from rdv.commands.exits import PipeClosedError
from rdv.commands.options import Decision, span_ns
from rdv.commands.output import Output
from rdv.commands.tail import is_reader_gone
from rdv.commands.terminal import Style, is_terminal, paint, printable, width
from rdv.commands.units import local_time

if TYPE_CHECKING:
    from rdv.decision.events import Event, EventReader

EXAMPLES = (
    "rdv events fraud",
    "rdv events fraud --since 1h -f",
    "rdv events fraud --kind process_ended --kind schedule_changed",
    "rdv events fraud --json | jq 'select(.by)'",
)
_WAIT_S = 1.0
_TIME_CHARS = 19
_KIND_COLUMNS = max(map(len, EVENT_KINDS))
_TEXT_COLUMNS_MIN = 30
_STYLES: dict[str, Style] = {
    "process_ended": "red",
    "model_not_loaded": "red",
    "schedule_refused": "red",
    "settings_refused": "red",
    "breaker_opened": "red",
    "disk_full": "red",
    "trouble": "red",
    "rolled_back": "yellow",
    "serve_stopped": "yellow",
    "promoted": "green",
    "process_back": "green",
    "breaker_closed": "green",
    "disk_free": "green",
    "serve_started": "green",
}


def events(
    directory: Decision,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Continue with new events, until Ctrl-C.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only events from this time on: 10m (ago), yesterday, 11:37 or an ISO time.",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only events before this time, as --since.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="Only events of this kind; can be given several times.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("-n", "--lines", metavar="N", help="Only the last N. Default: all."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines. Default: when stdout is no terminal.")
    ] = False,
) -> None:
    """Show what happened to a decision: who changed what, when, and by which command.

    Restarts with their reason, edits that took effect or were refused, models that were added,
    paused or could not be loaded, promotions and rollbacks, scaling, breakers of remote models,
    a full disk. The newest comes last; the log keeps them for log.retention_ms. The decision need
    not run. CODES.md lists the kinds.
    """
    from rdv.decision import load_decision
    from rdv.decision.events import EventReader
    from rdv.serve.observer import NeverServed
    from rdv.stream.errors import StreamNotFound

    if count is not None and count < 0:
        raise InvalidOption("-n", "is 0 or more")
    if follow and until is not None:
        raise InvalidOption("--until", "does not go with --follow")
    kinds = _kinds(kind or [])
    since_ns, until_ns = span_ns(since, until)
    show = _Shown(Output(as_json=as_json or not is_terminal(sys.stdout)))
    try:
        reader = EventReader(directory, since_ns)
    except StreamNotFound:
        load_decision(directory)  # it says what is wrong with the directory
        raise NeverServed(directory) from None
    with reader:
        past = (
            event
            for event in reader.past()
            if (not kinds or event.kind in kinds) and (until_ns is None or event.time_ns < until_ns)
        )
        show(past if count is None else deque(past, maxlen=count))
        if follow:
            _follow(reader, kinds, show)


def _kinds(given: list[str]) -> set[str]:
    for name in given:
        if name not in EVENT_KINDS:
            raise InvalidOption("--kind", f"is none of {', '.join(EVENT_KINDS)}")
    return set(given)


def _follow(reader: EventReader, kinds: set[str], show: _Shown) -> None:
    while True:
        found = reader.next(_WAIT_S)
        show(event for event in found if not kinds or event.kind in kinds)
        if not found and is_reader_gone(sys.stdout):
            raise PipeClosedError


class _Shown:
    """Shows events as lines of a table, or as JSON lines."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._has_head = False

    def __call__(self, events: Iterable[Event]) -> None:
        from rdv.decision.events import row_of

        for event in events:
            if self._output.as_json:
                self._output.json(row_of(event))
            else:
                self._show(event)
        sys.stdout.flush()

    def _show(self, event: Event) -> None:
        if not self._has_head:
            self._has_head = True
            head = f"{'TIME':{_TIME_CHARS}}  {'KIND':{_KIND_COLUMNS}}  WHAT"
            self._output.text(paint(head, "bold", sys.stdout))
        time = paint(local_time(event.time_ns)[:_TIME_CHARS], "dim", sys.stdout)
        kind = f"{event.kind:{_KIND_COLUMNS}}"
        if style := _STYLES.get(event.kind):
            kind = paint(kind, style, sys.stdout)
        indent = _TIME_CHARS + _KIND_COLUMNS + 4
        columns = max(_TEXT_COLUMNS_MIN, width() - indent)
        first, *rest = textwrap.wrap(sentence(event), columns) or [""]
        self._output.text(f"{time}  {kind}  {first}")
        for line in rest:
            self._output.text(" " * indent + line)


def sentence(event: Event) -> str:
    """Return what happened, why, and who has caused it."""
    text = event.message
    if event.last_line:
        text += f": {event.last_line}"
    if event.by and event.by not in text:
        text += f" (by {event.by}{f', {event.user}' if event.user else ''})"
    elif event.user and event.by:
        text += f" ({event.user})"
    return printable(text)
