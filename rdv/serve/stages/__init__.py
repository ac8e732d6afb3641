"""Runs a decision in fewer processes than `rdv serve`: for a beginning, and for low latency.

    run_direct(DIR, MODEL)    the proxy calls one model, in its own process, without streams
    run_in_process(DIR)       proxy, server and models in one process, over streams in memory

Both use the same rdv.toml, model files and HTTP, and give the same answers. Neither is durable, and
a model that crashes in C, or kills its process, ends everything. A model that cannot be loaded is
only missing. Each model has one thread, from its import to its end.
"""

from __future__ import annotations

import itertools
import logging

from rdv.coded import coded
from rdv.decision.streams import MEMORY, Streams, open_streams
from rdv.errors import RdvError
from rdv.serve.process import guard_process
from rdv.stream import StreamConfig
from rdv.system.standard_streams import empty_stdin, stdout_to_stderr

__all__ = ["run_direct", "run_in_process"]

log = logging.getLogger("rdv.stages")

START_WAIT_S = 5.0
"""The HTTP server starts after this time at the latest, as that of `rdv serve`."""

STOP_S = 5.0
"""A model that is still busy after this time is left behind with the process."""

_numbers = itertools.count()


def run_direct(directory: str, model: str) -> None:
    """Serve until SIGTERM or SIGINT. Raises RdvErrors, such as ModelNotFound and AddressTaken."""
    from rdv.serve.stages.direct import serve_direct

    _shield()
    serve_direct(directory, model)


def run_in_process(directory: str) -> None:
    """Serve until SIGTERM or SIGINT. Raises RdvErrors, such as AddressTaken."""
    from rdv.serve.stages.in_process import serve_in_process

    _shield()
    serve_in_process(directory)


def _shield() -> None:
    """Protect the process from its models: they get no stdin, and stderr for stdout."""
    guard_process()
    empty_stdin()
    stdout_to_stderr()


def memory_streams(name: str) -> Streams:
    """Make new streams with one partition each; 64 MB of each topic's records are kept."""
    return open_streams(f"{MEMORY}{name}-{next(_numbers)}", StreamConfig(partitions=1))


def log_not_loaded(error: RdvError) -> None:
    """Log why a model is missing, with its own traceback."""
    text = "\n".join(filter(None, (error.text(), error.hint())))
    log.error("%s", text, extra=coded(error))
