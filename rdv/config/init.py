"""`rdv init` makes a new decision from a template, completely or not at all."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from uuid import uuid4

import msgspec

from rdv.clean_environment import clean_environment
from rdv.config.decision import Decision
from rdv.config.errors import DirectoryNotEmpty, TrainingFailed
from rdv.config.load import load_decision
from rdv.config.template import Template, load_template, template_schedules
from rdv.config.text import decision_text
from rdv.stream.file.disk import faults

TRAINING_TIMEOUT_MS = 300_000
_RESULTS_MARK = "@RESULTS@"


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
    """Describes the last line that a template's train.py prints."""

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
    with workshop(directory) as place:
        with faults(place, "write to"):
            _write_files(place, source, known)
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
        (f"rdv status {here} --watch", "who answers, how fast, who is behind"),
        (f"rdv schedule show {here}", "the schedule as a timeline; edit it while requests flow"),
        (f"rdv drill {here} --quick", "kill, stop, overload and more, rehearsed on a copy"),
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
def workshop(directory: str) -> Iterator[str]:
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


def _write_files(place: str, source: str, template: Template) -> None:
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
        decision_text(Decision(models=template.models, http=template.http)),
    )
    shutil.copyfile(os.path.join(source, "README.md"), os.path.join(place, "README.md"))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _train(place: str, template: str) -> Judged:
    """Run the template's own train.py, as its owner will do later."""
    command = [sys.executable, "-B", os.path.join("models", "train.py")]
    try:
        done = subprocess.run(
            command,
            cwd=place,
            env=clean_environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=TRAINING_TIMEOUT_MS / 1000,
        )
    except subprocess.TimeoutExpired:
        reason = f"train.py has not ended within {TRAINING_TIMEOUT_MS} ms"
        raise TrainingFailed(template, reason) from None
    except OSError as error:
        raise TrainingFailed(template, str(error)) from error
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().split("\n")[-1]
        raise TrainingFailed(template, last or f"train.py ended with {done.returncode}")
    try:
        return msgspec.json.decode(done.stdout.strip().split(b"\n")[-1], type=Judged)
    except msgspec.DecodeError as error:
        raise TrainingFailed(template, f"train.py said nothing useful: {error}") from error


def _fill_readme(place: str, metric: str, models: list[TrainedModel]) -> None:
    path = os.path.join(place, "README.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    lines = [f"| model | part | {metric} | one request |", "|---|---|---|---|"]
    lines += [f"| {m.name} | {m.role} | {m.value:.4f} | {m.row_ms:.3g} ms |" for m in models]
    _write(path, text.replace(_RESULTS_MARK, "\n".join(lines)))
