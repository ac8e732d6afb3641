"""`--html FILE` and charts, for the commands that evaluate the log."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.options import need_folder
from rdv.commands.output import Output
from rdv.commands.terminal import has_color, is_terminal, width

if TYPE_CHECKING:
    from rdv.analysis.charts import Chart, Mix

Html = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a report there: a page by itself.",
        callback=need_folder,
    ),
]


def write_page(path: str, html: str, output: Output) -> None:
    """Write an HTML page to a file, which is replaced if it exists. Raises SystemFaults."""
    from rdv.stream.file.disk import faults

    with faults(path, "write"), open(path, "w", encoding="utf-8") as file:
        file.write(html)
    output.note(f"written: {path}")


def draw(pictures: Iterable[Chart | Mix], output: Output) -> None:
    """Draw charts on a terminal only: text charts are of no use to a program."""
    if not (output.is_human and is_terminal(sys.stdout)):
        return
    from rdv.analysis.charts import render

    for picture in pictures:
        output.text()
        output.text(
            render(picture, width=min(width(), 90), height=16, colour=has_color(sys.stdout))
        )
