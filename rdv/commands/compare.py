"""Implement `rdv compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.options import (
    Canary,
    Decision,
    Json,
    Metric,
    On,
    Quiet,
    Since,
    Until,
    need_folder,
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

if TYPE_CHECKING:
    from rdv.analysis.compare import Comparison
    from rdv.analysis.dataset.places import Recorded

EXAMPLES = (
    "rdv compare fraud mlp logit",
    "rdv compare fraud mlp logit --metric roc-auc --by day",
    "rdv compare fraud mlp canary --since 1d --html report.html",
    "rdv compare fraud mlp logit --disagreements label-these.jsonl --count 200",
    "rdv compare fraud mlp logit --json | jq .classes.rate",
)
_COUNT_MAX = 100_000


def compare(
    directory: Decision,
    first: Annotated[str, typer.Argument(metavar="A", help="A model.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another model, or the canary.")],
    *,
    since: Since = None,
    until: Until = None,
    on: On = None,
    metric: Metric = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Also compare by this field of the requests' data, or by hour, day or week.",
        ),
    ] = None,
    canary: Canary = None,
    disagreements: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write the requests most worth labelling into this file, as JSON lines.",
            callback=need_folder,
        ),
    ] = None,
    count: Annotated[
        int, typer.Option(metavar="N", help="Number of requests to write with --disagreements.")
    ] = 100,
    html: Html = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare two models on the same requests.

    How far they agree, how their scores relate, which one is quicker, which one is right where
    outcomes are known, where they disagree most, and whether the input or a model has changed over
    time.
    """
    from rdv.analysis.compare import view
    from rdv.analysis.dataset.places import Recorded
    from rdv.api import studies
    from rdv.commands.errors import InvalidOption
    from rdv.decision import load_decision

    if not 1 <= count <= _COUNT_MAX:
        raise InvalidOption(f"--count {count}", f"must be between 1 and {_COUNT_MAX:,}")
    decision = load_decision(directory)
    output = Output(as_json=as_json, quiet=quiet)
    with Recorded(directory) as recorded:
        with Progress("compared {:,} requests") as progress:
            found = studies.compare(
                recorded,
                decision,
                first,
                second,
                span_ns(since, until),
                on=on,
                metric=metric or "",
                by=by,
                canary=canary,
                disagreements=count,
                progress=progress.advance,
            )
        if disagreements is not None:
            _export(disagreements, recorded, found, output)
    if html is not None:
        write_page(html, view.compare_page(found, decision.name, promise_lines(decision)), output)
    if as_json:
        output.json(found.as_json())
        return
    title = f"{first} and {second}, {found.requests:,} requests"
    print_table(*view.models_table((found.first, found.second)), output, title)
    if found.segments is not None and found.segments.segments:
        output.text()
        print_table(*found.segments.table(), output, f"the {found.metric.metric.title} by segment")
    print_exploration(found.exploration, output)
    output.text()
    finish(output, found.sentences(), view.charts_of(found, brief=True), found.caveats())


def _export(path: str, recorded: Recorded, found: Comparison, output: Output) -> None:
    import msgspec

    from rdv.analysis.compare.disagreements import read_disagreements
    from rdv.system.faults import faults

    lines = 0
    names = (found.first.name, found.second.name)
    with faults(path, "write"), open(path, "wb") as file:
        if found.pairs is not None and found.disagreements is not None:
            for one in read_disagreements(recorded, found.pairs, found.disagreements, names):
                file.write(msgspec.json.encode(one) + b"\n")
                lines += 1
    output.note(f"written: {path}, {lines:,} requests")
