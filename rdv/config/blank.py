"""`rdv init` without a template makes an empty decision, or one with its owner's models."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rdv.config.convert import check_model_name
from rdv.config.decision import Decision
from rdv.config.init import refuse_non_empty, workshop
from rdv.config.load import load_decision
from rdv.config.model import ModelConfig
from rdv.config.text import decision_text, toml_value
from rdv.stream.file.disk import faults

BLANK = "blank"
_SCHEDULE = """\
# The live schedule: whose answer is accepted, and until when. Times count from the request.
# `rdv schedule check` finds mistakes in it, `rdv schedule show` draws it.

sla_ms = 50
default = {default}    # the answer when no model has answered by then
"""
_CHAMPION = """
[[step]]            # only the champion will do
until_ms = 30
accept = [{champion}]
"""
_IN_ORDER = """
[[step]]            # the first of these that has answered
until_ms = 45
accept = [{models}]
"""
_ANY = """
[[step]]            # any model that has answered
accept = ["*"]
"""


class BlankReport(msgspec.Struct, frozen=True):
    """Describes the result of `init_blank`."""

    directory: str
    template: str
    models: dict[str, str]
    """The models' files, relative to the directory, by name; the champion first."""

    next_commands: list[tuple[str, str]]
    """Commands to type next, and what they do."""


def init_blank(
    directory: str, models: Mapping[str, str] | None = None, default: Any = None
) -> BlankReport:
    """Make a decision in `directory`, which must not exist or be empty (dotfiles may be there).

    `models` are files by the models' names, the champion first; they are copied. `default` is the
    schedule's default result; it must be a TOML value, so it contains no None, unless it is None
    itself: then it is an empty table. Nothing is left behind if anything fails. Raises
    DirectoryNotEmpty, InvalidModelName, SystemFaults.
    """
    files = {
        check_model_name(name): f"models/{name}{os.path.splitext(path)[1]}"
        for name, path in (models or {}).items()
    }
    refuse_non_empty(directory)
    with workshop(directory) as place:
        with faults(place, "write to"):
            for folder in ("models", "schedules"):
                os.mkdir(os.path.join(place, folder))
            _write(
                os.path.join(place, "rdv.toml"),
                decision_text(
                    Decision(models={name: ModelConfig(path=path) for name, path in files.items()})
                ),
            )
            _write(
                os.path.join(place, "schedules", "production.toml"),
                schedule_text(list(files), {} if default is None else default),
            )
        for name, path in (models or {}).items():
            with faults(path, "read"):
                shutil.copyfile(path, os.path.join(place, files[name]))
        load_decision(place, {})
    return BlankReport(directory, BLANK, files, _next_commands(directory, list(files)))


def schedule_text(models: Sequence[str], default: Any) -> str:
    """Return a schedule that prefers `models` in their order."""
    names = [toml_value(name) for name in models]
    parts = [_SCHEDULE.format(default=toml_value(default))]
    if names:
        parts.append(_CHAMPION.format(champion=names[0]))
    if len(names) > 1:
        parts.append(_IN_ORDER.format(models=", ".join(names)))
    return "".join([*parts, _ANY])


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _next_commands(directory: str, models: Sequence[str]) -> list[tuple[str, str]]:
    here = shlex.quote(directory)
    commands = [
        (f"rdv schedule show {here}", "the schedule as a timeline; edit schedules/production.toml"),
        (f"rdv serve {here}", "start it; leave it running and open another terminal"),
        (f"rdv ask {here} '{{}}' --trace", "one request, its answer"),
    ]
    if not models:
        add = f"rdv model add {here} NAME --path FILE.py"
        commands.insert(0, (add, "declare a model: a file with predict(rows) -> results"))
    return commands
