"""Load a model by its settings in a decision."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from rdv.coded import coded
from rdv.errors import RdvError
from rdv.models.child import Log
from rdv.models.command import CommandModel
from rdv.models.decoy import Decoy
from rdv.models.environments import EnvironmentUnusable, InterpreterInUse, use_interpreter
from rdv.models.file import FileModel
from rdv.models.hosted import HostedModel
from rdv.models.kinds import PYTHON_ENDING, UnknownKind
from rdv.models.model import InputErrors, Model, ModelNotLoaded
from rdv.models.opened import Opened
from rdv.models.python_file import PythonModel
from rdv.rendezvous.messages import RESULT_BYTES_MAX
from rdv.system.made_of import (
    MISSING,
    UNKNOWN,
    ArtifactsUnusable,
    Hashes,
    MadeOf,
    Sign,
    artifact_files,
    check_artifacts,
    declared_files,
    read_made_of,
    relative,
    sign_of,
    version_of,
    write_made_of,
)

log = logging.getLogger("rdv.models")


def open_model(
    directory: str,
    name: str,
    *,
    path: str = "",
    command: Sequence[str] = (),
    builtin: str = "",
    version: str = "",
    start_timeout_ms: int = 30_000,
    predict_timeout_ms: int = 10_000,
    result_bytes_max: int = RESULT_BYTES_MAX,
    archive_bytes_max: int = 1024**3,
    command_directory: str = "",
    artifacts: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    input_errors: Sequence[str] = (),
    python: str = "",
    requirements: str = "",
    remote: Mapping[str, Any] | None = None,
    records: bool = False,
    log: Log | None = None,
) -> Model:
    """Load the model `name` of the decision in `directory`; `path` is relative to it.

    One of path, command and builtin = "decoy" is given; a canary is loaded like any other model.
    `options` are for the adapter of the file's kind (`rdv.models.adapters`). With `python`, an
    interpreter, or `requirements`, a list of libraries, the file is loaded by another interpreter
    (`rdv.models.hosted`); making its environment may take minutes. A command runs in
    `command_directory`, which is the decision's unless given; `log` gets its stderr, line by line.
    Only a command's timeouts are enforced here: Python code that hangs can only be ended with its
    process, by a watchdog. `input_errors` names exceptions which say that the input is at fault.
    Raises ModelNotLoaded.

    The model's version is the declared one and a hash of the files that it is made of: those that
    its settings and its code name, and those that it was seen to read. With `records` they are
    written down for the supervisor, which restarts a model whose files change.
    """
    if builtin == "decoy":
        return Decoy(os.path.join(directory, "decoy", name), archive_bytes_max, version)
    if remote:
        from rdv.models.remote import RemoteModel

        ca_file = os.path.join(directory, remote["ca_file"]) if remote["ca_file"] else ""
        return RemoteModel(
            name,
            {**remote, "ca_file": ca_file},
            version=version,
            predict_timeout_ms=predict_timeout_ms,
            result_bytes_max=result_bytes_max,
        )
    lists = [requirements] if requirements else []
    made = _Making(directory, name, path, command, [*artifacts, *lists])
    with made.opened:
        if python or requirements:
            model: Model = _open_hosted(
                directory,
                name,
                path,
                InterpreterWanted(python, requirements),
                options=options or {},
                input_errors=input_errors,
                version=version,
                start_timeout_ms=start_timeout_ms,
                predict_timeout_ms=predict_timeout_ms,
                result_bytes_max=result_bytes_max,
                log=log,
            )
        elif command:
            model = CommandModel(
                name,
                command,
                command_directory or directory,
                version=version,
                start_timeout_ms=start_timeout_ms,
                predict_timeout_ms=predict_timeout_ms,
                result_bytes_max=result_bytes_max,
                log=log,
            )
        else:
            model = _open_file(directory, name, path, options or {}, version, result_bytes_max)
    if input_errors and hasattr(model, "input_errors"):
        model.input_errors = InputErrors(input_errors)
    made.add(getattr(model, "files", ()))
    model.version = made.end(model.version, records=records)
    return model


def _open_file(
    directory: str,
    name: str,
    path: str,
    options: Mapping[str, Any],
    version: str,
    result_bytes_max: int,
) -> FileModel | PythonModel:
    place = os.path.join(directory, path)
    if not path or not os.path.exists(place):
        is_registered = path.startswith("models:")
        reason = "it was never downloaded" if is_registered else "there is no such file"
        raise ModelNotLoaded(name, path or "no path", reason)
    if path.endswith(PYTHON_ENDING) and os.path.isfile(place):
        return PythonModel(name, place, version, result_bytes_max)
    try:
        return FileModel(name, place, options, version, result_bytes_max)
    except UnknownKind as error:
        raise ModelNotLoaded(name, path, str(error)) from None


def _open_hosted(
    directory: str, name: str, path: str, wanted: InterpreterWanted, **settings: Any
) -> HostedModel:
    place = os.path.join(directory, path)
    if not path or not os.path.exists(place):
        raise ModelNotLoaded(name, path or "no path", "there is no such file")
    interpreter = use(directory, name, path, wanted)
    try:
        return HostedModel(name, interpreter, place, directory, **settings)
    except UnknownKind as error:
        interpreter.close()
        raise ModelNotLoaded(name, path, str(error)) from None
    except BaseException:
        interpreter.close()
        raise


class InterpreterWanted(NamedTuple):
    """The settings `python` and `requirements` of a model."""

    python: str
    requirements: str


def prepare_interpreter(
    directory: str,
    name: str,
    *,
    path: str = "",
    python: str = "",
    requirements: str = "",
    **_: object,
) -> None:
    """Make the environment of a model that has a list of requirements, for `open_model`.

    The other keywords of `open_model` are ignored. May take minutes. Raises ModelNotLoaded.
    """
    if requirements:
        use(directory, name, path, InterpreterWanted(python, requirements)).close()


def use(directory: str, name: str, path: str, wanted: InterpreterWanted) -> InterpreterInUse:
    """Return the model's interpreter; make its environment if necessary. Raises ModelNotLoaded."""
    try:
        return use_interpreter(directory, *wanted)
    except EnvironmentUnusable as error:
        raise ModelNotLoaded(name, path, str(error), may_pass=error.may_pass) from None


class _Making:
    """Finds what a model is made of, from before it is loaded (`opened` is entered) to `end`."""

    def __init__(
        self,
        directory: str,
        name: str,
        path: str,
        command: Sequence[str],
        artifacts: Sequence[str],
    ) -> None:
        """Raise ModelNotLoaded for artifacts that do not exist."""
        if path and os.path.isdir(os.path.join(directory, path)):
            artifacts = [*artifacts, path]
        try:
            check_artifacts(directory, artifacts)
        except ArtifactsUnusable as error:
            raise ModelNotLoaded(name, path or " ".join(command), str(error)) from None
        self._directory, self._name, self._command = directory, name, command
        self._before = read_made_of(directory, name)
        self._fixed = {
            file
            for entry in artifacts
            for file in relative(artifact_files(directory, entry), directory)
        }
        self._signs: dict[str, Sign] = {}
        self.add(declared_files(directory, path, command, artifacts))
        self.opened = Opened(directory)

    def add(self, places: Sequence[str]) -> None:
        """Add files that the model is made of."""
        for file, place in zip(relative(places, self._directory), places, strict=True):
            with contextlib.suppress(OSError):
                self._signs.setdefault(file, sign_of(place))

    def end(self, declared: str, *, records: bool) -> str:
        """Return the version of the model, which is loaded now."""
        state = [name for name in self._before.state if name not in self._fixed]
        written = {*self.opened.written} - self._fixed
        signs = {**self.opened.read, **self._signs}
        files = self._hashed({name: sign for name, sign in signs.items() if name not in state})
        hashes = {name: digest for name, (_, digest) in files.items()}
        version = version_of(declared, hashes, self._command)
        if records:
            last = self._before
            before = last.before if last.version == version else last.version
            made = MadeOf(version, before, files, sorted(written & files.keys()), state)
            self._record(made)
            named = {*self._fixed, *self._signs, *state}
            self.opened.watch(
                files.keys() - self._fixed,
                self._is_state,
                lambda name: None if name in named else self._is_late(name),
            )
        return version

    def _hashed(self, signs: Mapping[str, Sign]) -> dict[str, tuple[Sign, str]]:
        """Return signs and hashes of the files; `signs` are those from before they were read.

        What the model did not write itself and differs now may have been read in either state.
        """
        known = {os.path.join(self._directory, n): v for n, v in self._before.files.items()}
        hashes, found = Hashes(known), dict[str, tuple[Sign, str]]()
        for name, sign in signs.items():
            digest = hashes.of(place := os.path.join(self._directory, name))
            if digest == MISSING:
                continue
            is_same = hashes.sign(place) == sign or name in self.opened.written
            found[name] = (hashes.sign(place), digest) if is_same else (UNKNOWN, f"changed: {sign}")
        return found

    def _is_state(self, name: str) -> None:
        """Record that the model itself writes a file: a new one is no new version."""
        made = read_made_of(self._directory, self._name)
        self._record(msgspec.structs.replace(made, state=[*made.state, name]))
        log.warning(
            "%s writes %s itself: it is not a part of the model's version (artifacts names those)",
            self._name,
            name,
            extra=coded("model_writes_file"),
        )

    def _is_late(self, name: str) -> None:
        """Warn of a file that is no part of the version, as it is read only now."""
        text = "%s reads %s after it was loaded: a change of it is no new version; see artifacts"
        log.warning(text, self._name, name, extra=coded("model_reads_file"))

    def _record(self, made: MadeOf) -> None:
        try:
            write_made_of(self._directory, self._name, made)
        except RdvError as error:
            log.warning("%s: %s", self._name, error.text(), extra=coded(error))
