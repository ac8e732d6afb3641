"""Load the Decision of a directory, and its settings from the environment.

`RDV_HTTP_PORT=8200` sets `http.port`. The order of precedence is: the command line, `RDV_*`,
`rdv.toml`, the default.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
from collections.abc import Mapping
from typing import Any

import msgspec

from rdv import toml_text
from rdv.decision.console import Console
from rdv.decision.convert import check_decision, find_retired, make_decision, retired_warning
from rdv.decision.decision import FILE_NAME, SUFFIX, Decision, schedule_files
from rdv.decision.errors import DecisionNotFound, InvalidDecision, ProgramNotFound
from rdv.decision.mlflow import Mlflow
from rdv.decision.model import ModelConfig
from rdv.decision.registry import is_registry_uri, with_registry
from rdv.decision.sections import Http, Log, Server, setting_fields
from rdv.system.faults import faults

WHERE = "environment"
"""The maximum bytes of an rdv.toml; a larger one is a mistake."""
_NEAR_MAX = 3
"""The maximum number of decisions that an error suggests."""
_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "http": Http,
    "server": Server,
    "log": Log,
    "console": Console,
    "mlflow": Mlflow,
}


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
    return with_registry(decision)


def parse_decision(text: str, where: str, directory: str = "") -> Decision:
    """Make a Decision from the text of an `rdv.toml`. Pure. Raises InvalidDecision."""
    try:
        table = toml_text.parse(text)
    except toml_text.NotToml as error:
        raise InvalidDecision(where, "TOML", str(error)) from None
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
    try:
        with faults(path, "read"):
            return toml_text.read(path)
    except toml_text.NotToml as error:
        raise InvalidDecision(path, "text", str(error)) from None


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
    folder = os.path.join(directory, "schedules")
    if not os.path.isdir(folder):
        return ()
    with faults(folder, "list"):
        files = schedule_files(directory)
    return tuple(sorted(os.path.basename(path).removesuffix(SUFFIX) for path in files))


def missing_files(decision: Decision) -> list[InvalidDecision]:
    """Return errors for files that the decision names and that do not exist.

    They are returned, not raised, because a missing model must not keep the others from being
    served.
    """
    wanted = [("schedule", decision.schedule_path())]
    for name, cohort in decision.cohorts.groups.items():
        wanted.append((f"cohorts.{name}.schedule", decision.schedule_path(cohort.schedule)))
    for name, model in decision.models.items():
        if model.path and not model.retired and not is_registry_uri(model.path):
            wanted.append((f"models.{name}.path", decision.path(model.path)))
    if decision.http.enrich:
        wanted.append(("http.enrich", decision.path(decision.http.enrich.partition(":")[0])))
    return [
        InvalidDecision(decision.file, key, f"there is no file {path}")
        for key, path in wanted
        if not os.path.isfile(path) and not (key.startswith("models.") and os.path.isdir(path))
    ]


def check_program(decision: Decision, model: ModelConfig) -> None:
    """Check that the command of a model can be started here. Raises ProgramNotFound."""
    if not model.command:
        return
    program = model.command[0]
    if os.path.dirname(program):
        place = os.path.abspath(decision.path(program))
        if not shutil.which(place):
            found = "it is there, but not executable" if os.path.exists(place) else ""
            raise ProgramNotFound(program, f"at {place}", found and f"chmod +x {place}")
    elif not shutil.which(program):
        there = os.path.isfile(decision.path(program))
        advice = f"For the decision's file write ./{program}" if there else ""
        raise ProgramNotFound(program, "in all of $PATH", advice)


def environment_names() -> dict[str, tuple[str, str]]:
    """Return every variable that is read, with the section ("" for none) and key that it sets."""
    names = {"RDV_SCHEDULE": ("", "schedule"), "RDV_PARTITIONS": ("", "partitions")}
    for section, kind in _SECTIONS.items():
        for field in setting_fields(kind):
            names[f"RDV_{section}_{field.name}".upper()] = (section, field.name)
    return names


def with_environment(decision: Decision, environ: Mapping[str, str]) -> Decision:
    """Return `decision` with its settings overridden by those of `environ`.

    An unknown variable with the prefix of a section (as RDV_HTTP_) is an error: a misspelt setting
    must not be ignored. Other variables are ignored. Raises InvalidDecision with the variable as
    its key.
    """
    known = environment_names()
    prefixes = tuple(f"RDV_{section}_".upper() for section in _SECTIONS)
    for variable, text in environ.items():
        if variable in known:
            decision = _override(decision, variable, *known[variable], text)
        elif variable.startswith(prefixes):
            if (gone := _retired(variable)) is not None:
                decision = decision.replace(warnings=(*decision.warnings, gone))
                continue
            near = difflib.get_close_matches(variable, known, 1)
            raise InvalidDecision(WHERE, variable, "no such setting", near[0] if near else "")
    check_decision(decision, WHERE)
    return decision


def _retired(variable: str) -> str | None:
    """Return a warning when the variable sets a retired key."""
    _, section, name = variable.split("_", 2)
    retired = find_retired(f"{section}.{name}".lower())
    return None if retired is None else retired_warning(variable, retired)


def _override(decision: Decision, variable: str, section: str, key: str, text: str) -> Decision:
    """Apply one variable. The value is checked by the same rules as one in the file."""
    kind: type[msgspec.Struct] = _SECTIONS[section] if section else Decision
    field = {field.name: field for field in setting_fields(kind)}[key]
    value: Any = text
    if isinstance(field.default, bool):
        value = {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    elif isinstance(field.default, int):
        digits = text.replace("_", "")
        value = int(digits) if digits.isdecimal() and digits.isascii() else text
    elif isinstance(field.default, float):
        with contextlib.suppress(ValueError):
            value = float(text)
    elif isinstance(field.default, list):
        value = [part.strip() for part in text.split(",") if part.strip()]
    table = {section: {key: value}} if section else {key: value}
    try:
        changed = make_decision(table, WHERE)
    except InvalidDecision as error:
        raise InvalidDecision(WHERE, variable, f"{text!r}: {error.reason}") from None
    if not section:
        return decision.replace(**{key: getattr(changed, key)})
    value = getattr(getattr(changed, section), key)
    now = msgspec.structs.replace(getattr(decision, section), **{key: value})
    return decision.replace(**{section: now})
