"""Make a new decision, completely or not at all: from a template, or around its owner's models."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import msgspec

from rdv.decision.convert import check_model_name
from rdv.decision.decision import Decision
from rdv.decision.errors import DirectoryNotEmpty, TrainingFailed
from rdv.decision.load import load_decision
from rdv.decision.model import ModelConfig
from rdv.decision.template import Template, load_template, template_schedules
from rdv.decision.text import decision_text, toml_value
from rdv.system.environment import clean_environment
from rdv.system.faults import faults
from rdv.system.run import run_program

TRAINING_TIMEOUT_MS = 300_000
_RESULTS_MARK = "@RESULTS@"
BLANK = "blank"
_SCHEDULE = """\
# The live schedule: which models are accepted, and until when. Times count from the request.
# `rdv schedule check` finds mistakes in it, `rdv schedule show` draws it.

sla_ms = 50
default = {default}    # the answer when no model has answered by then
"""
_CHAMPION = """
[[step]]            # only the champion
until_ms = 30
accept = [{champion}]
"""
_IN_ORDER = """
[[step]]            # the first of these models that has answered
until_ms = 45
accept = [{models}]
"""
_ANY = """
[[step]]            # any model that has answered
accept = ["*"]
"""


class TrainedModel(msgspec.Struct, frozen=True):
    """Describes the quality and speed of a model, as measured at init."""

    name: str
    value: float
    """The metric on data that no model was trained on."""

    row_ms: float
    """Median time of `predict` for a single row, on this machine at this moment."""

    role: str = ""
    """champion, challenger, fallback; from train.py, else from the template."""


class Judged(msgspec.Struct, frozen=True):
    """The last line that a template's train.py prints."""

    metric: str
    held_out: int
    models: list[TrainedModel]


class InitReport(msgspec.Struct, frozen=True):
    """Describes the result of `init_decision`."""

    directory: str
    template: str
    about: str
    metric: str
    held_out: int
    """The number of rows that the metric was computed on; no model was trained on them."""

    models: list[TrainedModel]
    seconds: float
    requests: str
    """Sample requests for `rdv load --data`: {"data": …, "key": …, "truth": …}, one a line."""

    next_commands: list[tuple[str, str]]
    """Commands to type next, and what they do."""


def init_decision(directory: str, template: str = "fraud") -> InitReport:
    """Make a decision in `directory`, which must not exist or be empty (dotfiles may be there).

    Its models are trained in a separate process (fraud: about a second, digits: a few). Nothing is
    left behind if anything fails. Raises DirectoryNotEmpty, UnknownTemplate, TemplateNeeds,
    TrainingFailed, AssetsMissing, SystemFaults.
    """
    started = time.monotonic()
    known, source = load_template(template)
    refuse_non_empty(directory)
    with _built_in(directory) as place:
        with faults(place, "write to"):
            _copy_template(place, source, known)
        judged = _train(place, template)
        models = [
            msgspec.structs.replace(m, role=m.role or known.role(m.name)) for m in judged.models
        ]
        with faults(place, "write to"):
            _fill_readme(place, judged.metric, models)
        load_decision(place, {})
    return InitReport(
        directory=directory,
        template=template,
        about=known.about,
        metric=judged.metric,
        held_out=judged.held_out,
        models=models,
        seconds=time.monotonic() - started,
        requests=os.path.join(directory, "requests.jsonl"),
        next_commands=next_commands(directory, known.ask),
    )


def next_commands(directory: str, ask: str) -> list[tuple[str, str]]:
    """Return the next commands for a new decision."""
    here = shlex.quote(directory)
    data = shlex.quote(os.path.join(directory, "requests.jsonl"))
    commands = [(f"rdv serve {here}", "start it; leave it running and open another terminal")]
    if ask:
        commands.append((f"rdv ask {here} {shlex.quote(ask)} --trace", "one request, its answer"))
    return [
        *commands,
        (f"rdv load {here} --rate 100 --duration 10s --data {data}", "many requests"),
        (f"rdv status {here} --watch", "which models answer, how fast, and which are behind"),
        (f"rdv schedule show {here}", "the schedule as a timeline; edit it while requests flow"),
        (f"rdv drill {here} --quick", "faults on a copy under load: are the promises kept?"),
    ]


def refuse_non_empty(directory: str) -> None:
    """Check the directory. Raises DirectoryNotEmpty for more than dotfiles, and SystemFaults."""
    if not os.path.lexists(directory):
        return
    with faults(directory, "list"):
        names = os.listdir(directory)
    there = sorted(name for name in names if not name.startswith(".") or name == ".rdv")
    if there:
        raise DirectoryNotEmpty(directory, tuple(there))


@contextlib.contextmanager
def _built_in(directory: str) -> Iterator[str]:
    """Make a hidden directory to build in; its contents move to `directory` after success.

    A new directory appears by one rename; an existing one is filled file by file.
    """
    directory = os.path.abspath(directory)
    exists = os.path.isdir(directory)
    hidden = f".rdv-init-{uuid4().hex[:8]}"
    place = os.path.join(directory if exists else os.path.dirname(directory), hidden)
    with faults(directory, "make"):
        os.makedirs(place)
    try:
        yield place
        with faults(directory, "write to"):
            if exists:
                for name in os.listdir(place):
                    os.rename(os.path.join(place, name), os.path.join(directory, name))
            else:
                os.rename(place, directory)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _copy_template(place: str, source: str, template: Template) -> None:
    os.mkdir(os.path.join(place, "models"))
    os.mkdir(os.path.join(place, "schedules"))
    for file_name in sorted(os.listdir(os.path.join(source, "models"))):
        path = os.path.join(source, "models", file_name)
        if os.path.isfile(path) and not file_name.startswith("."):
            shutil.copyfile(path, os.path.join(place, "models", file_name))
    for schedule, text in template_schedules(template, source).items():
        _write(os.path.join(place, "schedules", f"{schedule}.toml"), text)
    _write(
        os.path.join(place, "rdv.toml"),
        decision_text(
            Decision(models=template.models, http=template.http, outcome=template.outcome)
        ),
    )
    shutil.copyfile(os.path.join(source, "README.md"), os.path.join(place, "README.md"))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _train(place: str, template: str) -> Judged:
    """Run the template's own train.py, as its owner will do later."""
    command = [sys.executable, "-B", os.path.join("models", "train.py")]
    try:
        done = run_program(
            command,
            timeout_s=TRAINING_TIMEOUT_MS / 1000,
            directory=place,
            environment=clean_environment(os.environ),
        )
    except OSError as error:
        raise TrainingFailed(template, str(error)) from error
    if done.by_us:
        reason = f"train.py has not ended within {TRAINING_TIMEOUT_MS} ms"
        raise TrainingFailed(template, reason)
    if done.code:
        raise TrainingFailed(template, done.last_line(f"train.py ended with {done.code}"))
    try:
        return msgspec.json.decode(done.output.strip().split(b"\n")[-1], type=Judged)
    except msgspec.DecodeError as error:
        raise TrainingFailed(
            template, f"the last line of train.py is not its report: {error}"
        ) from error


def _fill_readme(place: str, metric: str, models: list[TrainedModel]) -> None:
    path = os.path.join(place, "README.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    lines = [f"| model | part | {metric} | one request |", "|---|---|---|---|"]
    lines += [f"| {m.name} | {m.role} | {m.value:.4f} | {m.row_ms:.3g} ms |" for m in models]
    _write(path, text.replace(_RESULTS_MARK, "\n".join(lines)))


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
    with _built_in(directory) as place:
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
                copy = shutil.copytree if os.path.isdir(path) else shutil.copyfile
                copy(path, os.path.join(place, files[name]))
        load_decision(place, {})
    return BlankReport(directory, BLANK, files, _blank_commands(directory, list(files)))


def schedule_text(models: Sequence[str], default: Any) -> str:
    """Return a schedule that prefers `models` in their order."""
    names = [toml_value(name) for name in models]
    parts = [_SCHEDULE.format(default=toml_value(default))]
    if names:
        parts.append(_CHAMPION.format(champion=names[0]))
    if len(names) > 1:
        parts.append(_IN_ORDER.format(models=", ".join(names)))
    return "".join([*parts, _ANY])


def _blank_commands(directory: str, models: Sequence[str]) -> list[tuple[str, str]]:
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
