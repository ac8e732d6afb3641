"""List the files that a decision depends on: which to watch, and which an edit affects.

A model depends on its file; for a Python file also on the files beside it that it imports or names,
and what those import or name in turn ("gbm.npz", or "gbm" alone). Other files there do not count:
the model may well write some itself.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterable, Mapping

from rdv.decision.decision import Decision, schedule_files
from rdv.decision.model import ModelConfig

_CHUNK_BYTES = 1024 * 1024
_Sign = tuple[int, int, int]
"""A file's time, size and inode."""


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


def names_in(source: str) -> tuple[set[str], set[str]]:
    """Return (imported modules, strings) of a Python text; empty when it does not parse. Pure."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return set(), set()
    modules: set[str] = set()
    strings: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            modules.add((node.module or "").partition(".")[0])
            modules.update(alias.name for alias in node.names if node.level)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
    return modules, strings


def footprint(name: str, sources: Mapping[str, str], data: Iterable[str]) -> set[str]:
    """Return the files that `name` depends on, including itself.

    `sources` are the Python files of its directory with their texts, `data` the other files there.
    Pure.
    """
    named = {file: names_in(text) for file, text in sources.items()}
    found, waiting = set(), [name]
    while waiting:
        file = waiting.pop()
        if file in found or file not in named:
            continue
        found.add(file)
        waiting += [f"{module}.py" for module in named[file][0]]
    for file in data:
        if any(_is_named(file, named[python][1]) for python in found & named.keys()):
            found.add(file)
    return found | {name}


def _is_named(file: str, strings: Iterable[str]) -> bool:
    """Return whether a string names the file, with or without its ending, as in f"{name}.npz"."""
    stem = os.path.splitext(file)[0]
    return any(os.path.basename(text) in (file, stem) for text in strings if text)


class Stamps:
    """Makes a stamp for each model, which changes with its files and settings.

    The number of instances does not change it. Files are read again only when their size or time
    has changed.
    """

    def __init__(self) -> None:
        self._hashes: dict[str, tuple[_Sign, str]] = {}

    def of(self, decision: Decision) -> dict[str, str]:
        """Return the stamps by model. A missing file is part of the stamp as well."""
        return {name: self._stamp(decision, model) for name, model in decision.models.items()}

    def _stamp(self, decision: Decision, model: ModelConfig) -> str:
        digest = hashlib.sha256(repr(model.unscaled()).encode())
        for path in files_of(decision.directory, model):
            digest.update(f"{path}={self._hash(path)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _hash(self, path: str) -> str:
        try:
            stat = os.stat(path)
            sign = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            known = self._hashes.get(path)
            if known is None or known[0] != sign:
                known = self._hashes[path] = (sign, _hash_file(path))
        except OSError:
            return "missing"
        return known[1]


def files_of(directory: str, model: ModelConfig) -> list[str]:
    """Return the files that a model depends on, sorted."""
    if model.command:
        paths = (os.path.join(directory, word) for word in model.command)
        return sorted({path for path in paths if os.path.isfile(path)})
    if not model.path:
        return []
    path = os.path.join(directory, model.path)
    if not path.endswith(".py"):
        return [path]
    folder, name = os.path.split(path)
    return sorted(os.path.join(folder, file) for file in footprint(name, *_beside(folder)))


def _beside(folder: str) -> tuple[dict[str, str], list[str]]:
    sources: dict[str, str] = {}
    data: list[str] = []
    try:
        entries = [entry for entry in os.scandir(folder) if entry.is_file()]
    except OSError:
        return sources, data
    for entry in entries:
        if entry.name.startswith(".") or entry.name.endswith((".pyc", "~")):
            continue
        if entry.name.endswith(".py"):
            try:
                with open(entry.path, encoding="utf-8", errors="replace") as file:
                    sources[entry.name] = file.read()
            except OSError:
                sources[entry.name] = ""
        else:
            data.append(entry.name)
    return sources, data


def _hash_file(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
