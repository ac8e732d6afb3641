"""Implement `rdv console`."""

from __future__ import annotations

from typing import Annotated

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.options import Decision

EXAMPLES = (
    "rdv console fraud",
    "rdv console copies/fraud --port 9000",
)
_PORT_MAX = 65_535


def console(
    directory: Decision,
    *,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Port of the console; default: console.port, or the first proxy's + 80.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Address to listen on.", show_default=False),
    ] = None,
) -> None:
    """Show the page and /metrics of a decision, until Ctrl-C.

    For a decision that is stopped, or that was copied from another machine. `rdv serve` starts the
    console of a running decision itself. Writes nothing into the decision's directory.
    """
    from rdv.analysis.dataset.places import Recorded
    from rdv.commands.component import log_to_stderr
    from rdv.console.main import run_console

    if port is not None and not 0 <= port <= _PORT_MAX:
        raise InvalidOption("--port", f"is 0 to {_PORT_MAX}")
    with Recorded(directory):  # raises where nothing is recorded
        pass
    log_to_stderr()
    run_console(directory, host, port, is_part=False)
