"""Implement `rdv drill`: its report as a table, or as one JSON object."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.options import Decision, OneJson, Quiet, need_file, output_file
from rdv.commands.output import Column, Output, number
from rdv.commands.terminal import is_terminal, paint
from rdv.commands.units import milliseconds, parse_duration_ns

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig
    from rdv.load.drill.run import DrillReport
    from rdv.load.drill.verdict import Row

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
        str, typer.Option(metavar="N", help="Requests per second, over both proxies.")
    ] = "200",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="JSON lines to send, as for rdv load. Default: the latest recorded requests in "
            "DIR/input, else DIR/requests.jsonl.",
        ),
    ] = None,
    faults: Annotated[
        str, typer.Option(metavar="LIST", help="Faults to inject, separated by commas.")
    ] = _FAULTS,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Shorter: faults in one server, one proxy and the champion only."
        ),
    ] = False,
    grace: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="How much later than its SLA an answer may be, on a busy machine.",
        ),
    ] = "10ms",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the copy, its streams and the log of its serve.")
    ] = False,
    out: Annotated[
        str | None, output_file("Also write the report into this file, as JSON.")
    ] = None,
    progress: Annotated[
        bool | None,
        typer.Option(
            "--progress/--no-progress",
            help="Print a line for each exercise on stderr. Default: on a terminal.",
        ),
    ] = None,
    as_json: OneJson = False,
    quiet: Quiet = False,
) -> None:
    """Inject faults into a private copy of a decision, under load.

    DIR itself is only read. A copy of its settings, schedules and models is served in a temporary
    directory, with two proxies on free ports. Faults are injected into each of its parts in turn:
    it is killed, stopped, slowed down; its streams get garbage, wrong times, misplaced sectors,
    missing files; another process holds its locks. Then the decision as a whole: overload, a
    greedy client, directories that are replaced, a full disk. Meanwhile clients send requests. At
    the end the answers are checked against the promises, and against the log.

    The requests in flight at a killed or stopped proxy are lost or late: they are counted
    separately.

    Exit codes: 0 every promise was kept, 1 one was broken, which is named.
    """
    from rdv.decision import load_decision
    from rdv.load.drill.copying import first_models, free_port, targets_of
    from rdv.load.drill.plan import PromiseBroken, plan_drill
    from rdv.load.drill.run import run_drill

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
    note = output.note if shows else lambda _: None
    report = run_drill(directory, plan, bodies, port, note, grace_ms=grace_ms, keep=keep)
    result = summary(report, directory, load, grace_ms)
    if out is not None:
        _write(out, result)
    if as_json:
        output.json(result)
    else:
        render(report, output, grace_ms)
    if report.verdict.broken:
        raise PromiseBroken(tuple(report.verdict.broken))


def _bodies(decision: DecisionConfig, data: str | None) -> tuple[list[bytes], str]:
    """Return the bodies to send, and a description of them. Raises LineUnusable, SystemFaults."""
    from rdv.load.drill.recorded import recorded_bodies
    from rdv.load.rows import make_rows, read_rows

    if data is not None:
        need_file("--data", data)
    else:
        recorded = recorded_bodies(decision.stream_path("input"))
        if recorded:
            return recorded, f"the latest {len(recorded):,} recorded requests"
        sample = decision.path("requests.jsonl")
        if not os.path.isfile(sample):
            return [row.body for row in make_rows([b"{}"], None, {})], "empty requests"
        data = sample
    rows = read_rows(data, None, {})
    return [row.body for row in rows], f"{len(rows):,} requests of {data}"


def _write(path: str, result: object) -> None:
    import orjson

    from rdv.system.faults import faults

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


_COLUMNS = (
    Column("fault"),
    Column("part"),
    number("requests"),
    number("in_time"),
    number("apart"),
    number("refused"),
    number("before", show=str),
    number("during", show=str),
    number("after", show=str),
    Column("recovery"),
)


def summary(report: DrillReport, directory: str, load: str, grace_ms: float) -> dict[str, Any]:
    """Return the whole drill as one object."""
    return {
        "directory": directory,
        "load": load,
        "seconds": report.seconds,
        "requests": report.requests,
        "grace_ms": grace_ms,
        "client_latency_ms": report.client_ms,
        "timers_late_ms": report.timers_ms,
        "late_in_calm": report.verdict.late_in_calm,
        "left_out": report.left_out,
        "exercises": [_plain(row) for row in report.verdict.rows],
        "broken": report.verdict.broken,
        "broken_codes": report.verdict.broken_codes,
        "summary": closing_sentence(report, grace_ms),
        "kept": report.kept or None,
    }


def _plain(row: Row) -> dict[str, Any]:
    mixes = {name: getattr(row, name)._asdict() for name in ("before", "during", "after")}
    return {**vars(row), **mixes}


def render(report: DrillReport, output: Output, grace_ms: float) -> None:
    """Print the report for people."""
    rows = [_shown(row) for row in report.verdict.rows]
    output.table(_COLUMNS, rows)
    notes = {f"{r.fault} {r.part}": r.note for r in report.verdict.rows if r.note}
    output.text()
    for line in (
        (
            "in time: by the proxy's own clock, from reading the request to writing its answer, at "
            f"most SLA + {grace_ms:g} ms."
        ),
        (
            "apart: held by the faulty proxy, or sent to it before it had recovered. "
            "Mix: preferred/fallback/default."
        ),
        *(f"{exercise}: {note}" for exercise, note in notes.items()),
    ):
        output.text(paint(line, "dim", sys.stdout))
    times = "   ".join(f"{name} {milliseconds(value)}" for name, value in report.client_ms.items())
    output.text(f"{report.requests:,} requests in {report.seconds:.0f} s; clients waited {times}")
    late = report.timers_ms
    text = f"this machine: the drill's own timers were {milliseconds(late['p99'])} late at p99, "
    text += f"{milliseconds(late['max'])} at most"
    if calm := report.verdict.late_in_calm:
        text += f"; late answers without a fault: {calm:,}"
    output.text(text)
    if report.left_out:
        output.text(f"never became ready, and left out: {', '.join(report.left_out)}")
    if report.kept:
        output.text(f"the copy is kept in {report.kept}")
    sentence = closing_sentence(report, grace_ms)
    output.text(paint(sentence, "red" if report.verdict.broken else "green", sys.stdout))


def closing_sentence(report: DrillReport, grace_ms: float) -> str:
    """Return a sentence with what was promised and what was observed."""
    rows = [row for row in report.verdict.rows if not row.skipped]
    requests, apart = sum(row.requests for row in rows), sum(row.apart for row in rows)
    in_time, refused = sum(row.in_time for row in rows), sum(row.refused for row in rows)
    broken = len(report.verdict.broken)
    kept = f"promises broken: {broken}" if broken else "every promise was kept"
    return (
        "Promised: every accepted request is answered once, marked and recorded, within its SLA "
        f"+ {grace_ms:g} ms, under any fault. Observed in {len(rows)} exercises: of {requests:,} "
        f"requests {in_time:,} answered in time, {refused:,} refused, {apart:,} held by a proxy "
        f"that had the fault; {kept}."
    )


def _shown(row: Row) -> dict[str, Any]:
    from rdv.load.drill.mix import Mix

    if row.skipped:
        return {"fault": row.fault, "part": row.part, "recovery": "left out"}
    back = "never" if row.recovery_ms is None else _time(row.recovery_ms)
    return {
        "fault": row.fault,
        "part": row.part,
        "requests": row.requests,
        "in_time": row.in_time,
        "apart": row.apart,
        "refused": row.refused,
        "before": row.before,
        "during": row.during if row.during.requests else Mix(),
        "after": row.after,
        "recovery": back,
    }


def _time(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"  # noqa: PLR2004
