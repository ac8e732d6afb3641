"""`rdv init`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.options import Json, Quiet
from rdv.commands.output import Column, Output, number
from rdv.commands.terminal import paint

if TYPE_CHECKING:
    from rdv.config import InitReport

EXAMPLES = (
    "rdv init fraud",
    "rdv init mail --template digits",
    "rdv init pages --template ads",
)
_COLUMNS = (
    Column("model"),
    Column("role", "part"),
    number("value", show="{:.4f}".format),
    number("row_ms", "one request", lambda ms: f"{ms:.3g} ms"),
)


def init(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="The directory to make; it may exist if empty.")
    ],
    *,
    template: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="fraud: card payments. ads: the ten ads of a page, from models that share the "
            "candidates. recommend: what to listen to next. retail: what runs out of stock. "
            "digits: sorting mail by handwritten digits, with the extra [sklearn].",
        ),
    ] = "fraud",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a decision: settings, schedules, models, requests.

    The models are trained here and measured on data that none of them has learned from. Nothing
    is left behind when something fails, and nothing that exists is ever overwritten.
    """
    from rdv.config import init_decision

    output = Output(as_json=as_json, quiet=quiet)
    report = init_decision(directory, template)
    if as_json:
        import msgspec

        output.json(msgspec.to_builtins(report))
    else:
        _render(report, output)


def _render(report: InitReport, output: Output) -> None:
    output.text(f"made {report.directory}: {report.about}")
    output.text()
    value = number("value", report.metric, "{:.4f}".format)
    rows = [
        {"model": m.name, "role": m.role, "value": m.value, "row_ms": m.row_ms}
        for m in report.models
    ]
    output.table([value if column.key == "value" else column for column in _COLUMNS], rows)
    output.text()
    output.text(
        paint(
            f"{report.metric} on {report.held_out:,} rows that no model has learned from",
            "dim",
            sys.stdout,
        )
    )
    output.text()
    output.text("Next:")
    for command, what in report.next_commands:
        output.text(f"  {paint('# ' + what, 'dim', sys.stdout)}")
        output.text(f"  {paint(command, 'bold', sys.stdout)}")
