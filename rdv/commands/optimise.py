"""Implement `rdv optimise`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.options import (
    Decision,
    Json,
    Metric,
    On,
    Quiet,
    Since,
    Until,
    output_file,
    span_ns,
)
from rdv.commands.output import Output, Progress
from rdv.commands.pages import Html, finish, print_table, promise_lines, write_page

if TYPE_CHECKING:
    from rdv.analysis.optimise.result import Optimum
    from rdv.decision import Decision as DecisionConfig

EXAMPLES = (
    "rdv optimise fraud --p99 40ms",
    "rdv optimise fraud --metric value -o fraud/schedules/new.toml",
    "rdv optimise fraud --since 7d --json | jq '.frontier[]'",
)


def optimise(
    directory: Decision,
    *,
    p99: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Limit of the p99 of the chosen schedule. Default: that of the live one.",
        ),
    ] = None,
    outcomes: Annotated[
        bool, typer.Option("--outcomes", help="Measure accuracy by known outcomes, or fail.")
    ] = False,
    since: Since = None,
    until: Until = None,
    on: On = None,
    metric: Metric = None,
    tries: Annotated[
        int, typer.Option(metavar="N", help="Approximate number of schedules to try.")
    ] = 2000,
    out: Annotated[str | None, output_file("Write the chosen schedule into this file.")] = None,
    html: Html = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for a better schedule, judged by the recorded requests.

    Measures by the metric where outcomes are known (accuracy by default), else by agreement with
    the champion. Learns on the earlier half of the requests, and reports on the later half, with
    95 % intervals by key; the limit of the p99 holds on both. SLA and default stay those of the
    live schedule; what another SLA would be worth is shown as well.

    Exit codes: 0 found; 1 no schedule keeps the limit of --p99.
    """
    from rdv.analysis.dataset.places import Recorded
    from rdv.analysis.errors import LiveIsBest, NoScheduleFits
    from rdv.analysis.optimise import view
    from rdv.api import studies
    from rdv.commands.units import parse_duration_ns
    from rdv.decision import load_decision
    from rdv.decision.schedules import read_schedule

    decision = load_decision(directory)
    read_schedule(decision)  # one that cannot be used is an error before anything is read
    if out is not None:
        _check_name(out)
    span = span_ns(since, until)
    progress = Progress("looked at {:,} requests and schedules")
    with Recorded(directory) as recorded, progress:
        found = studies.optimise(
            recorded,
            decision,
            span,
            p99_ms_max=None if p99 is None else parse_duration_ns(p99) / 1e6,
            need_outcomes=outcomes,
            on=on,
            metric=metric or "",
            tries=tries,
            progress=progress.advance,
        )
    output = Output(as_json=as_json, quiet=quiet)
    if html is not None:
        write_page(html, view.optimise_page(found, decision.name, promise_lines(decision)), output)
    if as_json:
        output.json(found.as_json())
    else:
        title = (
            f"{found.measure} against waiting: {found.tried:,} schedules, learned on "
            f"{found.learned_on:,} requests, reported on {found.reported_on:,}; 95 % intervals"
        )
        print_table(*view.schedules_table(found), output, title)
        if found.price is not None:
            output.text()
            title = "the live schedule with another SLA, on all requests"
            print_table(*found.price.table(), output, title)
        output.text()
        finish(output, found.sentences(), [view.frontier(found)], found.remarks)
    if found.keeps_live and out is not None:
        raise LiveIsBest(found.keeps_live)
    if found.chosen is None and not found.keeps_live and (p99 is not None or out is not None):
        raise NoScheduleFits(found.p99_ms_max or found.live.learned_p99_ms)
    if out is not None:
        _write(decision, found, out, output)


def _check_name(path: str) -> None:
    """Check that the file is new, and named like a schedule. Raises InvalidOption."""
    import re

    from rdv.commands.errors import InvalidOption
    from rdv.rendezvous.schedule.model import NAME_PATTERN

    stem, suffix = os.path.splitext(os.path.basename(path))
    if os.path.exists(path):
        raise InvalidOption(f"-o {path}", "the file exists already", "Give another name.")
    if suffix != ".toml" or not re.match(NAME_PATTERN, stem):
        reason = "a schedule's file is NAME.toml, of letters, digits, '.', '_' and '-'"
        raise InvalidOption(f"-o {path}", reason)


def _write(decision: DecisionConfig, found: Optimum, path: str, output: Output) -> None:
    """Write the chosen schedule to a file, after the linter has passed it."""
    from rdv.analysis.charts import cell
    from rdv.analysis.optimise.study import to_toml
    from rdv.commands.errors import InvalidOption
    from rdv.decision.schedules import retired_models
    from rdv.rendezvous.schedule import lint_schedule, schedule_from_toml
    from rdv.system.faults import faults

    chosen = found.chosen
    assert chosen is not None
    remark = (
        f"Chosen by rdv optimise among {found.tried} schedules: {found.measure} "
        f"{found.score_text(chosen.score)}, p99 {cell(chosen.p99_ms)} ms (95 % intervals)\n"
        f"on {found.reported_on} requests that it was not learned from."
    )
    text = to_toml(chosen.schedule, remark)
    name = os.path.splitext(os.path.basename(path))[0]
    schedule = schedule_from_toml(text, name, path)
    for finding in lint_schedule(schedule, None, retired_models(decision)):
        if finding.severity == "error":
            raise InvalidOption(f"-o {path}", f"the chosen schedule has a fault: {finding}")
        output.note(f"{path}: {finding}")
    with faults(path, "write"), open(path, "x", encoding="utf-8") as file:
        file.write(text)
    output.note(f"written: {path}. Try it: rdv whatif {decision.directory} --schedule {path}")
