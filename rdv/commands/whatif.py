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
from rdv.commands.output import Column, Output, Progress, number
from rdv.commands.pages import Html, draw, write_page

if TYPE_CHECKING:
    from rdv.analysis.whatif.result import WhatIf

EXAMPLES = (
    "rdv whatif fraud --schedule schedules/new.toml",
    "rdv whatif fraud --schedule fast-first --since 1d --on score",
    "rdv whatif fraud --schedule new.toml --json | jq .what_if.p99_ms",
)


def _share(value: float) -> str:
    return f"{value:.2%}"


def _ms(value: float) -> str:
    return f"{value:.2f} ms"


_FIGURES = (
    ("sla_attainment", "answered by a model within the SLA", _share),
    ("preferred", "preferred", _share),
    ("fallback", "fallback", _share),
    ("default", "default", _share),
    ("mean_ms", "wait, mean", _ms),
    ("p50_ms", "wait, p50", _ms),
    ("p90_ms", "wait, p90", _ms),
    ("p99_ms", "wait, p99", _ms),
    ("p999_ms", "wait, p99.9", _ms),
    ("accuracy", "right, of those whose outcome is known", _share),
)
_COLUMNS = (
    Column("what"),
    number("recorded", show=str),
    number("what_if", "what if", show=str),
    number("bounds", show=str),
)
_MODELS = (
    Column("model"),
    number("recorded", show=_share),
    number("what_if", "what if", show=_share),
)
_CHANGES = (Column("recorded", "instead of"), Column("what_if", "now"), number("requests"))


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
            help="Every decision, as Parquet.",
            callback=need_folder,
        ),
    ] = None,
    html: Html = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """What another schedule would have answered to the requests on record.

    Exact where arrivals are recorded; where they are not, it says so and gives bounds.
    """
    from rdv.analysis.dataset.places import Recorded
    from rdv.analysis.whatif.study import what_if
    from rdv.analysis.whatif.view import DecisionFile
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
    figures = found.as_json()
    if output.as_json:
        output.json(figures)
        return
    was, now = figures["recorded"], figures["what_if"]
    bounds = [figures["best"], figures["worst"]] if found.refused else []
    rows = [
        {
            "what": what,
            "recorded": "-" if was[key] is None else show(was[key]),
            "what_if": "-" if now[key] is None else show(now[key]),
            "bounds": _range([one[key] for one in [now, *bounds]], show) if bounds else "",
        }
        for key, what, show in _FIGURES
        if was[key] is not None or now[key] is not None
    ]
    output.table(_COLUMNS, rows, f"{found.schedule.label}, {was['requests']:,} requests")
    output.text()
    models = sorted({**was["models"], **now["models"]})
    shares = [
        {"model": m, "recorded": was["models"].get(m, 0), "what_if": now["models"].get(m, 0)}
        for m in models
    ]
    output.table(_MODELS, shares)
    output.text()
    output.text(_changes(figures))
    output.table(_CHANGES, figures["changes"][:10])
    if output.is_human:
        from rdv.analysis.whatif.view import whatif_charts

        draw(whatif_charts(found), output)
    if output.is_human:
        for line in found.caveats():
            output.note(line)


def _range(values: list[float | None], show: Any) -> str:
    there = [value for value in values if value is not None]
    if not there or show(min(there)) == show(max(there)):
        return ""
    return f"{show(min(there))} – {show(max(there))}"


def _changes(figures: dict[str, Any]) -> str:
    text = f"another answers {figures['changed_model']:.2%} of the requests"
    if figures["compared"]:
        text += f"; the answer is another one in {figures['changed_answer']:.2%}"
    if figures["mean_change"] is not None:
        mean, most = figures["mean_change"], figures["largest_change"]
        text += f", by {mean:.4g} on average and {most:.4g} at most"
    return text
