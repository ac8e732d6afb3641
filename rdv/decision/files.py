"""List the files that a decision depends on: which to watch, and which an edit affects.

What a model depends on is found by `rdv.system.made_of`; its worker adds what it was seen to read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from rdv.decision.decision import Decision, schedule_files
from rdv.decision.model import ModelConfig
from rdv.decision.registry import state_files
from rdv.system.made_of import (
    LARGE_BYTES,
    MISSING,
    Hashes,
    Sign,
    artifact_files,
    declared_files,
    read_made_of,
    sign_of,
)


def settings_files(decision: Decision) -> list[str]:
    """Return rdv.toml, the files of [schema], the schedules, and their folder: for new ones."""
    folder = decision.path("schedules")
    found = [decision.file, *state_files(decision), folder, *schema_files(decision)]
    try:
        return [*found, *schedule_files(decision.directory)]
    except OSError:
        return found


def schema_files(decision: Decision) -> list[str]:
    """Return the files that [schema] names, and those that a pydantic model may import."""
    schema = decision.schema
    if schema.pydantic:
        return files_beside([decision.path(schema.pydantic.partition(":")[0])])
    return [decision.path(schema.json_schema)] if schema.json_schema else []


def enricher_files(decision: Decision) -> list[str]:
    """Return the files beside http.enrich; which of them it imports is checked after an edit."""
    if not decision.http.enrich:
        return []
    return files_beside([decision.path(decision.http.enrich.partition(":")[0])])


def files_beside(paths: Iterable[str]) -> list[str]:
    """Return these files, and the others in their folders that an edit may affect."""
    found = set(paths)
    for folder in {os.path.dirname(path) for path in found}:
        try:
            with os.scandir(folder) as entries:
                found.update(
                    entry.path
                    for entry in entries
                    if not entry.name.startswith(".")
                    and not entry.name.endswith((".pyc", "~"))
                    and entry.is_file()
                )
        except OSError:
            continue
        found.add(folder)
    return sorted(found)


def watched_files(decision: Decision) -> list[str]:
    """Return the files whose edits matter, and the folders in which new files may appear."""
    models = decision.models.values()
    read = [
        decision.path(file)
        for name, model in decision.models.items()
        if model.path
        for file in read_made_of(decision.directory, name).files
    ]
    artifacts = [
        place
        for model in models
        for entry in model.more_files
        for place in (
            decision.path(entry.partition("*")[0]),
            *artifact_files(decision.directory, entry),
        )
    ]
    code = [decision.path(model.path) for model in models if model.path]
    words = [decision.path(word) for model in models for word in model.command]
    return [
        *settings_files(decision),
        *files_beside(code),
        *(path for path in words if os.path.isfile(path)),
        *read,
        *artifacts,
        *enricher_files(decision),
        decision.path("models"),
    ]


@dataclass(frozen=True, slots=True)
class _Files:
    """A model's settings and files with their hashes, as they were last seen."""

    settings: str
    named: dict[str, str]
    """The files that the settings and the code name."""
    read: dict[str, str]
    """Others that its worker was seen to read."""
    stale: dict[str, tuple[str, str]]
    """Of `named`, those that are not as the worker has loaded them: (as loaded, as they are)."""


class Stamps:
    """Makes a stamp for each model, which changes with its files and settings.

    The number of instances does not change it, nor do files that the model writes itself. Files are
    read again only when their size or time has changed.
    """

    def __init__(self) -> None:
        self._hashes = Hashes()
        self._last: dict[str, _Files] = {}
        self._counts: dict[str, int] = {}

    def of(self, decision: Decision) -> dict[str, str]:
        """Return the stamps by model. A missing file is part of the stamp as well."""
        return {name: self._stamp(decision, name) for name in decision.models}

    def _stamp(self, decision: Decision, name: str) -> str:
        """Return a number that grows with each change."""
        model, made = decision.models[name], read_made_of(decision.directory, name)
        own = {decision.path(file) for file in made.own}
        named = {path: self._mark(path) for path in files_of(decision.directory, model)}
        loaded = {decision.path(file): recorded_mark(*seen) for file, seen in made.files.items()}
        now = _Files(
            repr(model.unscaled()),
            {path: mark for path, mark in named.items() if path not in own},
            {path: self._mark(path) for path in loaded.keys() - named.keys() - own},
            {
                path: (mark, named[path])
                for path, mark in loaded.items()
                if path in named and path not in own and mark != named[path]
            },
        )
        before = self._last.get(name)
        self._last[name] = now
        if before is not None and (
            before.settings != now.settings
            or {path: mark for path, mark in before.named.items() if path not in own} != now.named
            or any(before.read.get(path, loaded[path]) != mark for path, mark in now.read.items())
            # A file that was edited twice, and loaded in between, may be as it was seen before.
            or not now.stale.items() <= before.stale.items()
        ):
            self._counts[name] = self._counts.get(name, 0) + 1
        return str(self._counts.get(name, 0))

    def _mark(self, path: str) -> str:
        """Return what changes with a file: a hash, or the time and size of a large one."""
        try:
            sign = sign_of(path)
        except OSError:
            return MISSING
        return large_mark(sign) or self._hashes.of(path)


def large_mark(sign: Sign) -> str:
    """Return the mark of a file that is too large to be hashed again; else an empty text. Pure."""
    modified_ns, _, size, inode = sign
    return f"{modified_ns} {size} {inode}" if size > LARGE_BYTES else ""


def recorded_mark(sign: Sign, digest: str) -> str:
    """Return the mark of a file as a worker has loaded it. Pure."""
    return large_mark(sign) or digest


def files_of(directory: str, model: ModelConfig) -> list[str]:
    """Return the files that a model's settings and code name, sorted."""
    return declared_files(directory, model.path, model.command, model.more_files)
