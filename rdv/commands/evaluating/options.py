"""Options of the commands that evaluate the log, each described once."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from rdv.commands.units import assumed_utc, bound_of

Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Only what was asked from then on: 10m (ago), 2026-05-01 (UTC)."
    ),
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
    """Return the bounds in ns since 1970; print a note on stderr if one is read as UTC. Raises
    InvalidQuantity.
    """
    now_ns = time.time_ns()
    return _bound("--since", since, now_ns), _bound("--until", until, now_ns)


def _bound(option: str, text: str | None, now_ns: int) -> int | None:
    if text is None:
        return None
    time_ns, is_assumed_utc = bound_of(text, now_ns)
    if is_assumed_utc:
        sys.stderr.write(assumed_utc(option, text) + "\n")
    return time_ns
