"""Implement `rdv export`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rdv.analysis.export.columns import describe_columns
from rdv.commands.errors import InvalidOption
from rdv.commands.options import Decision, Json, Quiet, Since, Until, need_no_file, span_ns
from rdv.commands.output import Column, Output, Progress, number
from rdv.commands.units import about_size

if TYPE_CHECKING:
    from rdv.analysis.export.study import Exported

EXAMPLES = (
    "rdv export fraud -o out/",
    "rdv export fraud -o out/ --since 7d --tables input,joined",
    "python -c \"import pandas; print(pandas.read_parquet('out/joined'))\"",
    "duckdb -c \"from read_parquet('out/joined/**/*.parquet', hive_partitioning = true)\"",
)
_COLUMNS = (
    Column("table"),
    number("rows"),
    number("files"),
    number("size_bytes", "size", show=about_size),
    Column("first_day", "from"),
    Column("last_day", "to"),
)


def export(
    directory: Decision,
    *,
    out: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="The directory to write to.",
            callback=need_no_file,
        ),
    ],
    since: Since = None,
    until: Until = None,
    tables: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Only these tables: input,scores,results,outcomes,joined."
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also write into a directory with other files in it; they are kept."
        ),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Export the log as Parquet, partitioned by day: OUT/TABLE/day=2026-11-22/….parquet.

    Days are UTC, by the time when a record was appended. Each table is put into place as a whole,
    and replaces an earlier export of it. Damaged records are skipped and reported; the exit code is
    then 1.
    """
    from rdv.analysis.dataset.places import Recorded
    from rdv.analysis.export.study import export as write
    from rdv.analysis.export.study import read_tables
    from rdv.decision import load_decision

    load_decision(directory)
    names = [] if tables is None else [name.strip() for name in tables.split(",")]
    if not out or "" in names:
        raise InvalidOption("--tables" if out else "--output", "is empty")
    wanted = read_tables(names)
    since_ns, until_ns = span_ns(since, until)
    output = Output(as_json=as_json, quiet=quiet)
    progress = Progress("exported {:,} rows")
    with Recorded(directory) as recorded, progress:
        found = write(
            recorded,
            out,
            since_ns,
            until_ns,
            tables=wanted,
            force=force,
            progress=progress.advance,
        )
    _render(found, output)
    found.raise_if_damaged()


def more_help() -> str:
    """Return the rest of the help: the tables and their columns."""
    return "\n".join(["\b", "Tables and their columns:", *describe_columns()])


def _render(found: Exported, output: Output) -> None:
    from rdv.analysis.statistics import plain

    rows = [{"table": table, **vars(written)} for table, written in found.tables.items()]
    if output.as_json:
        output.json({"output": found.out, "tables": rows, "notes": plain(found.notes)})
        return
    output.table(_COLUMNS, rows)
    for line in found.notes.lines():
        output.note(line)
