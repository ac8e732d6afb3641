"""`--html FILE` and charts, for the commands that evaluate the log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.commands.options import need_folder
from rdv.commands.output import Column, Output
from rdv.commands.terminal import has_color, is_terminal, width

if TYPE_CHECKING:
    from rdv.analysis.charts import Chart, Mix
    from rdv.analysis.exploration.result import Explored
    from rdv.analysis.promise import Promise
    from rdv.decision import Decision as DecisionConfig

Html = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Also write a report into this file: a self-contained HTML page.",
        callback=need_folder,
    ),
]


def write_page(path: str, html: str, output: Output) -> None:
    """Write an HTML page to a file, which is replaced if it exists. Raises SystemFaults."""
    from rdv.system.faults import faults

    with faults(path, "write"), open(path, "w", encoding="utf-8") as file:
        file.write(html)
    output.note(f"written: {path}")


def promise_of(decision: DecisionConfig) -> Promise | None:
    """Return whether the quality that [objective] promises is held; None without a promise.

    Raises UnknownMetric, InvalidMetric, TooManyValues, and the log's SystemFaults.
    """
    if decision.objective.quality_min == "none":
        return None
    from rdv.analysis.promise import quality_promise

    return quality_promise(decision, time.time_ns())


def promise_lines(decision: DecisionConfig) -> list[str]:
    """Return the sentence about the promised quality; nothing without a promise."""
    promise = promise_of(decision)
    return [] if promise is None else [promise.sentence()]


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], output: Output, title: str = ""
) -> None:
    """Print a table of a study for people, with the numbers as on its page."""
    from rdv.analysis.charts.format import cell, is_numeric

    keys = [str(n) for n in range(len(columns))]
    right = [all(row[n] is None or is_numeric(row[n]) for row in rows) for n in range(len(columns))]
    titles = [column or "what" for column in columns]
    made = [Column(*one, show=cell) for one in zip(keys, titles, right, strict=True)]
    output.table(made, [dict(zip(keys, row, strict=True)) for row in rows], title)


def finish(
    output: Output,
    sentences: Iterable[str],
    charts: Iterable[Chart | Mix],
    caveats: Iterable[str],
) -> None:
    """Print a study's sentences, its charts on a terminal, and what limits its figures."""
    for sentence in sentences:
        output.text(sentence)
    draw(charts, output)
    if output.is_human:
        for line in caveats:
            output.note(line)


def draw(charts: Iterable[Chart | Mix], output: Output) -> None:
    """Draw charts on a terminal only: text charts are of no use to a program."""
    if not (output.is_human and is_terminal(sys.stdout)):
        return
    from rdv.analysis.charts import render

    for chart in charts:
        output.text()
        output.text(render(chart, width=min(width(), 90), height=16, colour=has_color(sys.stdout)))


def print_exploration(found: Explored | None, output: Output) -> None:
    """Print the label coverage by answer, and what randomised requests estimate."""
    if found is None:
        return
    output.text()
    print_table(*found.coverage_table(), output, "known outcomes by the answer given")
    if found.policies:
        output.text()
        print_table(*found.table(), output, "by randomised requests")
    for sentence in found.sentences():
        output.text(sentence)
