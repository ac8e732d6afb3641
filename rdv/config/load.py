"""Loads the Decision of a directory."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping

from rdv.config.convert import make_decision
from rdv.config.decision import FILE_NAME, Decision
from rdv.config.environment import with_environment
from rdv.config.errors import DecisionNotFound, InvalidDecision
from rdv.stream.file.disk import faults

FILE_BYTES_MAX = 1024 * 1024
"""The maximum bytes of an rdv.toml; a larger one is a mistake."""


def load_decision(directory: str, environ: Mapping[str, str] | None = None) -> Decision:
    """Load the decision in `directory`, its settings overridden by the `RDV_*` of `environ`.

    `environ` is the process's own unless given ({}: the file alone), so that the supervisor and all
    that it starts see the same. Reads this one file only: see `missing_files`. Raises
    DecisionNotFound, InvalidDecision, and SystemFaults.
    """
    path = os.path.join(directory, FILE_NAME)
    decision = parse_decision(read_text(directory), path, directory)
    decision = with_environment(decision, os.environ if environ is None else environ)
    if not decision.name:
        name = os.path.basename(os.path.abspath(directory)) or "decision"
        decision = decision.replace(name=name)
    return decision


def parse_decision(text: str, where: str, directory: str = "") -> Decision:
    """Make a Decision from the text of an `rdv.toml`. Pure. Raises InvalidDecision."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidDecision(where, "TOML", str(error)) from None
    except RecursionError:
        raise InvalidDecision(where, "TOML", "nested too deeply") from None
    return make_decision(table, where, directory)


def read_text(directory: str) -> str:
    """Return the text of rdv.toml. Raises DecisionNotFound, InvalidDecision, SystemFaults."""
    path = os.path.join(directory, FILE_NAME)
    if not os.path.isdir(directory):
        if os.path.exists(directory):
            raise DecisionNotFound(directory, "it is not a directory", is_used=True)
        raise DecisionNotFound(directory, "no such directory")
    if not os.path.isfile(path):
        with faults(directory, "list"):
            names = sorted(os.listdir(directory))
        raise DecisionNotFound(
            directory, is_used=bool(names), near=_decisions_near(directory, names)
        )
    with faults(path, "read"), open(path, "rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise InvalidDecision(path, "size", f"more than {FILE_BYTES_MAX} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidDecision(path, "text", f"not UTF-8 at byte {error.start}") from None


_NEAR_MAX = 3


def _decisions_near(directory: str, names: list[str]) -> tuple[str, ...]:
    """Return decisions below this directory, or else the one that it is a folder of."""
    below = (os.path.join(directory, name) for name in names)
    found = [path for path in below if os.path.isfile(os.path.join(path, FILE_NAME))]
    above = os.path.dirname(os.path.normpath(directory)) or os.path.dirname(os.getcwd())
    if not found and os.path.isfile(os.path.join(above, FILE_NAME)):
        found = [above]
    return tuple(found[:_NEAR_MAX])


def schedule_names(directory: str) -> tuple[str, ...]:
    """Return the schedules that the decision has, sorted. Raises SystemFaults."""
    path = os.path.join(directory, "schedules")
    if not os.path.isdir(path):
        return ()
    with faults(path, "list"):
        names = os.listdir(path)
    ends = (name.removesuffix(".toml") for name in names if name.endswith(".toml"))
    return tuple(sorted(name for name in ends if name and not name.startswith(".")))


def missing_files(decision: Decision) -> list[InvalidDecision]:
    """Return errors for files that the decision names and that do not exist.

    They are returned, not raised, because a missing model must not keep the others from being
    served.
    """
    wanted = [("schedule", decision.schedule_path())]
    for name, cohort in decision.cohorts.groups.items():
        wanted.append((f"cohorts.{name}.schedule", decision.schedule_path(cohort.schedule)))
    for name, model in decision.models.items():
        if model.path and not model.retired:
            wanted.append((f"models.{name}.path", decision.path(model.path)))
    if decision.http.enrich:
        wanted.append(("http.enrich", decision.path(decision.http.enrich.partition(":")[0])))
    return [
        InvalidDecision(decision.file, key, f"there is no file {path}")
        for key, path in wanted
        if not os.path.isfile(path)
    ]
