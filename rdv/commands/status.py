"""Implement `rdv status`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.options import Decision
from rdv.commands.output import Output
from rdv.commands.terminal import is_terminal

if TYPE_CHECKING:
    from rdv.commands.looking.reading import Observer

EXAMPLES = (
    "rdv status fraud",
    "rdv status fraud --watch",
    "rdv status fraud --json | jq .results.kinds",
)
_REFRESH_S = 1.0


def status(
    directory: Decision,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Again every second, until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; with --watch, one a second.")
    ] = False,
) -> None:
    """Show who runs, who answers, and how fast.

    Answers, mix and latency are those of the last ten seconds, by the results stream. Latency is
    the server's: from the request's arrival at the proxy to the decision. Scores, refusals and
    failures are counted since each process started; lag is the number of requests that a model has
    not evaluated yet.
    """
    from rdv.commands.looking.reading import Observer, decision_in_force
    from rdv.commands.looking.render import render

    output = Output(as_json=as_json)
    with Observer(decision_in_force(directory)) as observer:
        if watch:
            _watch(observer, output)
        elif as_json:
            output.json(observer.look())
        else:
            render(observer.look(), output)


def _watch(observer: Observer, output: Output) -> None:
    if output.as_json or not is_terminal(sys.stdout):
        while True:
            _show_once(observer, output)
            _until(observer, time.monotonic() + _REFRESH_S)
    from rich.live import Live

    from rdv.commands.looking.render import renderable

    with Live(renderable(observer.look()), screen=True, auto_refresh=False) as live:
        while True:
            _until(observer, time.monotonic() + _REFRESH_S)
            live.update(renderable(observer.look()), refresh=True)


def _show_once(observer: Observer, output: Output) -> None:
    from rdv.commands.looking.render import render

    if output.as_json:
        output.json(observer.look())
    else:
        render(observer.look(), output)
        output.text()
        sys.stdout.flush()


def _until(observer: Observer, end_s: float) -> None:
    """Read the processes' reports until `end_s`."""
    while (left_s := end_s - time.monotonic()) > 0:
        observer.wait(left_s)
