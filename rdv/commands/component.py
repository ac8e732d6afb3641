"""`rdv component …`: what the supervisor starts. Hidden: people use `rdv serve`."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, ClassVar

import typer

from rdv.commands.lazy import Lazy, LazyGroup

Directory = Annotated[str, typer.Argument(metavar="DIR", help="The decision's directory.")]


class ComponentGroup(LazyGroup):
    """One process each."""

    table: ClassVar[dict[str, Lazy]] = {
        "server": Lazy("rdv.commands.component:server", "Run a rendezvous server."),
        "worker": Lazy("rdv.commands.component:worker", "Run a model worker."),
        "proxy": Lazy("rdv.commands.component:proxy", "Run a proxy."),
    }


def log_to_stderr() -> None:
    level = os.environ.get("RDV_LOG_LEVEL", "INFO").upper()
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)


def server(
    directory: Directory,
    *,
    index: Annotated[int, typer.Option(help="Which of the servers.")] = 0,
) -> None:
    """Run a rendezvous server."""
    from rdv.components.server.main import run_server

    log_to_stderr()
    run_server(directory, index)


def worker(
    directory: Directory,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of rdv.toml.")],
    *,
    instance: Annotated[int, typer.Option(help="Which of its instances.")] = 0,
) -> None:
    """Run a model worker."""
    from rdv.components.worker.main import run_worker

    log_to_stderr()
    run_worker(directory, model, instance=instance)


def proxy(
    directory: Directory,
    *,
    index: Annotated[int, typer.Option(help="Which of the proxies.")] = 0,
) -> None:
    """Run a proxy."""
    from rdv.components.proxy.main import run_proxy

    log_to_stderr()
    run_proxy(directory, index)
