"""Implement `rdv drill`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.files import need_folder
from rdv.commands.options import Decision, Quiet
from rdv.commands.output import Output
from rdv.commands.terminal import is_terminal
from rdv.commands.units import parse_duration_ns

if TYPE_CHECKING:
    from rdv.config import Decision as DecisionConfig

EXAMPLES = (
    "rdv drill fraud",
    "rdv drill fraud --quick",
    "rdv drill mail --rate 50 --faults kill,stop --data mail/requests.jsonl",
    "rdv drill fraud --json -o drill.json",
)
_FAULTS = "kill,stop,slow,corrupt,lock,clock,sector,missing,overload,greedy,replace,disk"


def drill(
    directory: Decision,
    *,
    rate: Annotated[
        str, typer.Option(metavar="N", help="Requests a second, over both proxies.")
    ] = "200",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="JSON lines to ask, as for rdv load. Default: the latest requests on record in "
            "DIR/input, else DIR/requests.jsonl.",
        ),
    ] = None,
    faults: Annotated[
        str, typer.Option(metavar="LIST", help="Which faults, separated by commas.")
    ] = _FAULTS,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="One server, proxy and champion only, and shorter."),
    ] = False,
    grace: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="An answer may be later than its SLA by so much, on a busy machine.",
        ),
    ] = "10ms",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the copy, its streams and the log of its serve.")
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write the report as JSON into this file, too.",
            callback=need_folder,
        ),
    ] = None,
    progress: Annotated[
        bool | None,
        typer.Option(
            "--progress/--no-progress",
            help="A line for each exercise on stderr. Default: on a terminal.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Rehearse faults on a private copy of a decision, under load.

    DIR itself is only read. A copy of its settings, schedules and models is served in a temporary
    directory, with two proxies on free ports, and each of its parts is hurt in turn: it is killed,
    stopped, slowed down; its streams get garbage, wrong times, misplaced sectors, missing files;
    another process holds its locks. Then the decision as a whole: overload, a greedy client,
    directories that are replaced, a full disk. Meanwhile clients send requests. At the end the
    answers are checked against the promises, and against the log.

    The requests in flight at a killed or stopped proxy are lost or late: they are counted apart.

    Exit codes: 0 every promise was kept, 1 one was broken, which is named.
    """
    from rdv.commands.drilling.report import render, summary
    from rdv.config import load_decision
    from rdv.drill.copying import free_port
    from rdv.drill.errors import PromiseBroken
    from rdv.drill.plan import plan_drill
    from rdv.drill.run import run_drill
    from rdv.drill.targets import first_models, targets_of

    output = Output(as_json=as_json, quiet=quiet)
    grace_ms = parse_duration_ns(grace) / 1e6
    decision, port = load_decision(directory), free_port()
    names = [name.strip() for name in faults.split(",") if name.strip()]
    targets = targets_of(decision, port)
    plan = plan_drill(targets, first_models(decision), names, _rate(rate), quick=quick)
    bodies, load = _bodies(decision, data)
    count = len(plan.exercises)
    output.note(
        f"{count} exercises on a copy of {directory}, with {load}: "
        f"about {_span(plan.seconds)}, at most {_span(plan.seconds_max)}"
    )
    shows = is_terminal(sys.stderr) if progress is None else progress
    tell = output.note if shows else _silent
    report = run_drill(directory, plan, bodies, port, tell, grace_ms=grace_ms, keep=keep)
    result = summary(report, directory, load, grace_ms)
    if out is not None:
        _write(out, result)
    if as_json:
        output.json(result)
    else:
        render(report, output, grace_ms)
    if report.verdict.broken:
        raise PromiseBroken(tuple(report.verdict.broken))


def _silent(line: str) -> None:
    del line


def _bodies(decision: DecisionConfig, data: str | None) -> tuple[list[bytes], str]:
    """Return the bodies to send, and a description of them. Raises LineUnusable, SystemFaults."""
    from rdv.commands.loading.rows import make_rows, read_rows
    from rdv.drill.recorded import recorded_bodies

    if data is None:
        recorded = recorded_bodies(decision.stream_path("input"))
        if recorded:
            return recorded, f"the latest {len(recorded):,} requests on record"
        sample = decision.path("requests.jsonl")
        if not os.path.isfile(sample):
            return [row.body for row in make_rows([b"{}"], None, {})], "empty requests"
        data = sample
    rows = read_rows(data, None, {})
    return [row.body for row in rows], f"{len(rows):,} requests of {data}"


def _write(path: str, result: object) -> None:
    import orjson

    from rdv.stream.file.disk import faults

    with faults(path, "write to"), open(path, "wb") as file:
        file.write(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def _rate(text: str) -> float:
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        raise InvalidOption("--rate", f"{text!r} is not a number") from None
    if not 1 <= rate <= 20_000:  # noqa: PLR2004  above, the clients are the bottleneck
        raise InvalidOption("--rate", "is 1 to 20000")
    return rate


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
