"""Implement `rdv whatif`."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

from rdv.commands.options import (
    Decision,
    Json,
    Metric,
    On,
    Quiet,
    ScheduleFile,
    Since,
    Until,
    given_schedule,
    output_file,
    span_ns,
)
from rdv.commands.output import Output, Progress
from rdv.commands.pages import (
    Html,
    finish,
    print_exploration,
    print_table,
    promise_lines,
    write_page,
)

EXAMPLES = (
    "rdv whatif fraud --schedule schedules/new.toml",
    "rdv whatif fraud --schedule fast-first --since 1d --metric value",
    "rdv whatif fraud --schedule new.toml --json | jq .what_if.p99_ms",
)


def whatif(
    directory: Decision,
    *,
    schedule: ScheduleFile,
    since: Since = None,
    until: Until = None,
    on: On = None,
    metric: Metric = None,
    out: Annotated[
        str | None, output_file("Write every decision into this file, as Parquet.")
    ] = None,
    html: Html = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what another schedule would have answered to the recorded requests.

    Exact where arrivals are recorded; otherwise the result is marked and has bounds.
    """
    from rdv.analysis.dataset.places import Recorded
    from rdv.analysis.whatif import view
    from rdv.analysis.whatif.decisions import DecisionFile
    from rdv.api import studies
    from rdv.decision import load_decision

    decision = load_decision(directory)
    wanted = given_schedule(decision, schedule)
    with contextlib.ExitStack() as stack:
        recorded = stack.enter_context(Recorded(directory))
        options: dict[str, Any] = {}
        if out is not None:
            options["keep"] = stack.enter_context(DecisionFile(out)).add
        progress = stack.enter_context(Progress("decided {:,} requests"))
        found = studies.whatif(
            recorded,
            decision,
            wanted,
            span_ns(since, until),
            on=on,
            metric=metric or "",
            progress=progress.advance,
            **options,
        )
    output = Output(as_json=as_json, quiet=quiet)
    if html is not None:
        write_page(html, view.whatif_page(found, decision.name, promise_lines(decision)), output)
    if as_json:
        output.json(found.as_json())
        return
    title = f"{found.schedule.label}, {found.recorded.requests:,} requests"
    print_table(*view.figures_table(found), output, title)
    output.text()
    print_table(*view.models_table(found), output)
    output.text()
    for sentence in found.sentences():
        output.text(sentence)
    output.text()
    output.text(view.changes_sentence(found))
    print_table(*view.changes_table(found, 10), output)
    print_exploration(found.exploration, output)
    finish(output, (), view.whatif_charts(found), found.caveats())
