"""Implement `rdv errors`: what went wrong in the models, each kind of error once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.commands.options import Decision, Quiet, Since, Until, span_ns
from rdv.commands.output import Column, Output, number
from rdv.commands.terminal import fit, is_terminal, printable, width
from rdv.commands.units import iso_time, local_time

if TYPE_CHECKING:
    from rdv.api.table import Table

EXAMPLES = (
    "rdv errors fraud",
    "rdv errors fraud gbm --since 1d",
    "rdv errors fraud --json | jq 'select(.code == \"predict_raised\") | .data'",
)
_COLUMNS = (
    number("count"),
    Column("model"),
    Column("version"),
    Column("code"),
    Column("last", show=local_time),
    Column("id", "example"),
)
_INDENT = "    "


def errors(
    directory: Decision,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Only this model. Default: all.")
    ] = None,
    *,
    since: Since = None,
    until: Until = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines. Default: when stdout is no terminal.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Show the errors of models, grouped, with an example of each.

    Errors of the same model, version and code whose texts differ in numbers only are one group. The
    most frequent group comes first. Its example is the last request that failed: its id, the text
    of its error, and the data that the model was given. In Python: rdv.open(DIR).errors(MODEL).
    """
    from rdv.analysis.dataset.places import Recorded
    from rdv.api.measured import errors_table
    from rdv.decision import load_decision

    load_decision(directory)
    with Recorded(directory) as recorded:
        found = _rows(errors_table(recorded, model, span_ns(since, until)))
    output = Output(as_json=as_json or not (quiet or is_terminal(sys.stdout)), quiet=quiet)
    if output.as_json:
        for row in found:
            output.json(row | {"first": iso_time(row["first"]), "last": iso_time(row["last"])})
        return
    if not found:
        output.note(f"no errors of {model or 'any model'} are recorded")
        return
    output.table(_COLUMNS, found)
    output.text()
    for row in found:
        output.text(f"{row['model']}, {row['code']}, {row['id']}")
        for line in (row["error"], f"data: {_data_of(row)}"):
            output.text(fit(_INDENT + printable(line), max(20, width())))
    output.text()
    output.text(f"Look at a request: rdv explain {directory} ID")


def _rows(table: Table) -> list[dict[str, Any]]:
    """Return the groups; times are ns since 1970, the data is the JSON that it was."""
    import msgspec
    import pyarrow as pa

    whole = table.to_arrow()
    for name in ("first", "last"):
        at = whole.schema.get_field_index(name)
        whole = whole.set_column(at, name, whole.column(name).cast(pa.int64()))
    rows: list[dict[str, Any]] = whole.to_pylist()
    for row in rows:
        if row["data"] is not None:
            row["data"] = msgspec.Raw(row["data"].encode())
    return rows


def _data_of(row: dict[str, Any]) -> str:
    data = row["data"]
    return "the request is no longer in the log" if data is None else bytes(data).decode()
