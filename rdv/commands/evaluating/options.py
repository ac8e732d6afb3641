"""Options of the commands that learn from the log, each described once."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from rdv.commands.units import parse_moment_ns

Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only what was asked from then on: 10m (ago), 2026-05-01."),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only what was asked before.")]
On = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD",
        help="The field of the answers that counts; else action, label, bin, class, score.",
    ),
]
ScheduleFile = Annotated[
    str,
    typer.Option("--schedule", metavar="FILE", help="A schedule file, or the name of one in DIR."),
]


def span_ns(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """Bounds in ns since 1970. Raises InvalidQuantity."""
    now_ns = time.time_ns()
    return (
        None if since is None else parse_moment_ns(since, now_ns),
        None if until is None else parse_moment_ns(until, now_ns),
    )
