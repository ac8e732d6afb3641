"""Implement `rdv whatif`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.commands.options import (
    Decision,
    Json,
    On,
    Quiet,
    ScheduleFile,
    Since,
    Until,
    need_folder,
    span_ns,
)
from rdv.commands.output import Output, Progress
from rdv.commands.pages import Html, draw, print_table, write_page

if TYPE_CHECKING:
    from rdv.analysis.whatif.result import WhatIf

EXAMPLES = (
    "rdv whatif fraud --schedule schedules/new.toml",
    "rdv whatif fraud --schedule fast-first --since 1d --on score",
    "rdv whatif fraud --schedule new.toml --json | jq .what_if.p99_ms",
)


def whatif(
    directory: Decision,
    *,
    schedule: ScheduleFile,
    since: Since = None,
    until: Until = None,
    on: On = None,
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write every decision into this file, as Parquet.",
            callback=need_folder,
        ),
    ] = None,
    html: Html = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what another schedule would have answered to the recorded requests.

    Exact where arrivals are recorded; otherwise the result is marked and has bounds.
    """
    from rdv.analysis.dataset.places import Recorded
    from rdv.analysis.whatif.decisions import DecisionFile
    from rdv.analysis.whatif.study import what_if
    from rdv.commands.options import given_schedule
    from rdv.decision import load_decision

    decision = load_decision(directory)
    wanted = given_schedule(decision, schedule)
    since_ns, until_ns = span_ns(since, until)

    def describe(done: int, _: int) -> str:
        return f"decided {done:,} requests"

    with contextlib.ExitStack() as stack:
        recorded = stack.enter_context(Recorded(directory))
        options: dict[str, Any] = {}
        if out is not None:
            options["keep"] = stack.enter_context(DecisionFile(out)).add
        progress = stack.enter_context(Progress(describe))
        options["progress"] = progress.advance
        found = what_if(recorded, wanted, since_ns, until_ns, on=on, **options)
    output = Output(as_json=as_json, quiet=quiet)
    if html is not None:
        from rdv.analysis.whatif.view import whatif_page

        write_page(html, whatif_page(found, decision.name), output)
    _render(found, output)


def _render(found: WhatIf, output: Output) -> None:
    if output.as_json:
        output.json(found.as_json())
        return
    from rdv.analysis.whatif import view

    title = f"{found.schedule.label}, {found.recorded.requests:,} requests"
    print_table(*view.figures_table(found), output, title)
    output.text()
    print_table(*view.models_table(found), output)
    output.text()
    output.text(view.changes_sentence(found))
    print_table(*view.changes_table(found, 10), output)
    draw(view.whatif_charts(found), output)
    if output.is_human:
        for line in found.caveats():
            output.note(line)
