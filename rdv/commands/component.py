"""`rdv component …` are the command lines that the supervisor starts; users run `rdv serve`.

They do without typer, whose import would take a third of the time that a killed server needs to be
ready again.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from rdv.coded import CodeFormatter, with_code
from rdv.commands.exits import INTERRUPTED, exit_code, show_error
from rdv.errors import RdvError
from rdv.system.orphans import adopt_orphans, end_descendants, keep_parent_pipe, reap_abandoned
from rdv.system.standard_streams import write_utf8

LOADED_BEFORE_FORKS = (
    "encodings.idna",
    "locale",
    "rdv.serve.proxy.main",
    "rdv.serve.server.main",
    "rdv.serve.worker.main",
    "rdv.stream.files",
    "watchfiles",
)
"""The modules that the processes need, without models and model libraries."""


def log_to_stderr() -> None:
    """Log what components report to stderr, one line each; RDV_LOGGING sets the level."""
    level = os.environ.get("RDV_LOGGING", "INFO").upper()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(CodeFormatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("watchfiles").setLevel(logging.WARNING)


def launch(arguments: Sequence[str]) -> int:
    """Run one process of a decision until it is asked to stop; return the exit code.

    As `forkserver` it returns once in the fork server, and once in every process forked from it.
    """
    if arguments[:1] == ["forkserver"]:
        forked = _serve_forks()
        if forked is None:
            return 0
        arguments = forked
    given = _parser().parse_args(arguments)
    write_utf8()
    keep_parent_pipe()
    log_to_stderr()
    try:
        # Made absolute now: a model or an enricher may change the working directory.
        given.directory = os.path.abspath(given.directory)
        beside = ("mlflow", "console", "notify", "traces")
        if given.role != "server" and given.role not in beside and adopt_orphans():
            reap_abandoned()
        _run(given)
    except RdvError as error:
        show_error(with_code(error.text(), error.code()), error.hint())
        return _exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        end_descendants()
    return 0


def _exit_code(error: RdvError) -> int:
    """Return the exit code; NEVER where the supervisor has to wait for a change of the model."""
    from rdv.models.model import ModelNotLoaded
    from rdv.serve.process import NEVER

    is_final = isinstance(error, ModelNotLoaded) and not error.may_pass
    return NEVER if is_final else exit_code(error)


def _serve_forks() -> list[str] | None:
    import socket
    from importlib import import_module

    from rdv.serve.supervisor.forking import serve_forks

    for name in LOADED_BEFORE_FORKS:
        import_module(name)
    return serve_forks(socket.socket(fileno=0))


def _run(given: argparse.Namespace) -> None:
    if given.role == "digests":
        from rdv.analysis.digests.process import run_digests

        run_digests(given.directory, given.weeks, given.wait_ms)
    elif given.role == "server":
        from rdv.serve.server.main import run_server

        run_server(given.directory, given.number, is_published=given.accepted)
    elif given.role == "proxy":
        from rdv.serve.proxy.main import run_proxy

        run_proxy(given.directory, given.number, is_published=given.accepted)
    elif given.role == "grpc":
        from rdv.serve.grpc.main import run_grpc

        run_grpc(given.directory, is_published=given.accepted)
    elif given.role == "console":
        from rdv.console.main import run_console

        run_console(given.directory, port=given.port, is_part=True)
    elif given.role == "notify":
        from rdv.notify.main import run_notify

        run_notify(given.directory)
    elif given.role == "traces":
        from rdv.traces.main import run_traces

        run_traces(given.directory)
    elif given.role == "mlflow":
        from rdv.mlflow.main import run_mlflow

        run_mlflow(given.directory)
    else:
        import msgspec

        from rdv.decision import ModelConfig
        from rdv.serve.worker.main import run_worker

        config = msgspec.json.decode(given.config, type=ModelConfig) if given.config else None
        run_worker(
            given.directory,
            given.model,
            config=config,
            instance=given.number,
            is_published=given.accepted,
            groups=given.group,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "rdv component", description="Run one process of a decision; `rdv serve` runs all of them."
    )
    roles = parser.add_subparsers(dest="role", required=True)
    parts = ("server", "proxy", "grpc", "worker", "digests", "mlflow")
    for role in (*parts, "console", "notify", "traces"):
        command = roles.add_parser(role)
        command.add_argument("directory")
        if role == "console":
            command.add_argument("--port", type=int)
            continue
        if role == "digests":
            command.add_argument("--weeks", type=int, required=True)
            command.add_argument("--wait-ms", type=float, required=True)
            continue
        command.add_argument(
            "--accepted", action="store_true", help="use the settings that rdv serve has accepted"
        )
        if role == "worker":
            command.add_argument("model")
            command.add_argument("--config", default="", help="settings as JSON, not rdv.toml's")
            text = "a directory of the cgroup that it joins; may be given again"
            command.add_argument("--group", action="append", default=[], help=text)
        command.add_argument(
            "--number", "--index", "--instance", type=int, default=0, help="which of them"
        )
    return parser
