"""Serve a decision in this process alone: `rdv serve --direct MODEL` and `--in-process`."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from rdv.decision import Decision, ModelConfig, ModelNotFound
from rdv.serve.stages import run_direct, run_in_process
from rdv.serve.supervisor.leftovers import VARIABLE, clear, run_marker
from rdv.system.environment import clean_environment
from rdv.system.orphans import adopt_orphans, end_descendants, reap_abandoned


def leave_environment(decision: Decision, direct: str | None) -> None:
    """Replace this process by the same command with only the environment that models may see.

    Returns in the new process. Returns at once if the environment is right already, or if this is
    not an `rdv` command. Raises ModelNotFound.
    """
    if direct is not None and direct not in decision.models:
        raise ModelNotFound(decision.directory, direct, tuple(decision.models))
    marker = run_marker(decision.directory)
    if os.environ.get(VARIABLE) == marker or not _is_command_line():
        return
    models = decision.models if direct is None else {direct: decision.models[direct]}
    names = {*decision.env, *(name for model in models.values() for name in model.variables)}
    environment = {**clean_environment(os.environ, names), VARIABLE: marker}
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, command, environment)  # noqa: S606  no shell is used


def _is_command_line() -> bool:
    """Return whether this process is an `rdv` command, not a program that calls `main`."""
    folder, name = os.path.split(sys.argv[0])
    return name == "rdv" or (name == "__main__.py" and os.path.basename(folder) == "rdv")


def ignored_keys(decision: Decision) -> list[str]:
    """Return settings that have no effect with one process, one partition and streams in memory.

    Only settings that differ from the defaults are returned. Pure.
    """
    usual = Decision(directory=decision.directory)
    found = [key for key in ("partitions",) if getattr(decision, key) != getattr(usual, key)]
    for section, keys in (
        ("http", ("proxies", "grpc_port")),
        ("server", ("instances",)),
        ("log", type(decision.log).__struct_fields__),
    ):
        ours, theirs = getattr(decision, section), getattr(usual, section)
        found += [f"{section}.{key}" for key in keys if getattr(ours, key) != getattr(theirs, key)]
    keys = ("instances", "instances_min", "instances_max")
    for name, model in decision.models.items():
        plain = ModelConfig()
        found += [
            f"models.{name}.{key}" for key in keys if getattr(model, key) != getattr(plain, key)
        ]
    return found


def serve_stage(decision: Decision, direct: str | None, report: Callable[[str], None]) -> None:
    """Serve one model, or everything over streams in memory, until SIGTERM or SIGINT."""
    if is_parent := adopt_orphans():
        reap_abandoned()
    if ignored := ignored_keys(decision):
        report(f"{decision.file}: {', '.join(ignored)}: not used with --direct and --in-process")
    arguments = (decision.directory, report)
    threading.Thread(target=clear, args=arguments, name="rdv-clear", daemon=True).start()
    try:
        if direct is None:
            report("one process, streams in memory: nothing is kept")
            run_in_process(decision.directory)
        else:
            report(f"the model {direct} alone, without streams: nothing is kept")
            run_direct(decision.directory, direct)
    finally:
        if is_parent:
            end_descendants()
