"""Provides a process's settings, at its start and after each edit.

Lists the files that the supervisor watches: rdv.toml, schedules, models and the enricher.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from rdv.decision.accepted import (
    Accepted,
    accept_edit,
    accept_first,
    published_path,
    read_published,
)
from rdv.decision.decision import Decision, schedule_files
from rdv.decision.load import load_decision
from rdv.errors import RdvError


class Source:
    """Provides the settings of one process; one thread at a time.

    With `is_published` they are those that the supervisor has accepted; without a supervisor this
    process reads and checks the files itself.
    """

    def __init__(self, directory: str, *, is_published: bool = False) -> None:
        self.directory = directory
        self.is_published = is_published

    def first(self) -> Accepted:
        """Return the settings at the start. Raises RdvErrors of the configuration."""
        if self.is_published:
            return read_published(self.directory)
        return accept_first(load_decision(self.directory))

    def again(self, before: Accepted) -> Accepted:
        """Return the settings after an edit. Raises nothing: what is invalid stays as it was."""
        if not self.is_published:
            return accept_edit(before)
        try:
            return read_published(self.directory)
        except RdvError:
            return before

    def files(self, decision: Decision) -> list[str]:
        """Return the files to be watched."""
        if self.is_published:
            return [published_path(self.directory)]
        return [*settings_files(decision), *enricher_files(decision)]


def settings_files(decision: Decision) -> list[str]:
    """Return rdv.toml, the schedules, and their folder, so that new schedules are noticed."""
    folder = decision.path("schedules")
    try:
        return [decision.file, folder, *schedule_files(decision.directory)]
    except OSError:
        return [decision.file, folder]


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
    code = [decision.path(model.path) for model in models if model.path]
    words = [decision.path(word) for model in models for word in model.command]
    return [
        *settings_files(decision),
        *files_beside(code),
        *(path for path in words if os.path.isfile(path)),
        *enricher_files(decision),
        decision.path("models"),
    ]
