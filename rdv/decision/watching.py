"""Notices edits of files, however they are made: one implementation for every process.

The operating system reports changes in the watched folders at once. But a folder may be replaced (a
rename, a symlink that is flipped), and then the watched one is no longer the one at its path: so
each second the files and folders are compared with their earlier state, by device and inode, and
the watch begins anew where they differ.

Finds the files that a model depends on, so that an edit replaces only the models it affects.

For a Python file these are the files beside it that it imports or names, and what those import or
name in turn ("gbm.npz", or "gbm" alone). Other files there do not count: the model may well write
some itself.
"""

from __future__ import annotations

import ast
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping

from rdv.decision.decision import Decision
from rdv.decision.model import ModelConfig

log = logging.getLogger("rdv.watch")

STEP_MS, DEBOUNCE_MS = 50, 100
"""The watching thread wakes up every step."""

LOOK_MS = 1_000
"""How often the watched files and folders are compared with their earlier state, in ms."""

AGAIN_S, STOP_S = 1.0, 2.0

Sign = tuple[int, ...] | None


def sign(path: str) -> Sign:
    """Return what changes when a file is edited or replaced; for a folder, when it is replaced."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if os.path.isdir(path):
        return found.st_dev, found.st_ino
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def folders_of(paths: Iterable[str]) -> dict[str, Sign]:
    """Return the folders in which an edit of these files is visible, by device and inode.

    These are the folders of the names, of each symlink on the way, and of the files that these lead
    to; and folders among the paths themselves.
    """
    folders = set()
    for path in paths:
        if os.path.isdir(path):
            folders.add(os.path.realpath(path))
        here = os.path.abspath(path)
        for _ in range(_LINKS_MAX):
            folders.add(os.path.dirname(here))
            if not os.path.islink(here):
                break
            here = os.path.normpath(os.path.join(os.path.dirname(here), os.readlink(here)))
        folders.add(os.path.dirname(os.path.realpath(path)))
    return {folder: found for folder in sorted(folders) if (found := sign(folder)) is not None}


_LINKS_MAX = 40


class Watch:
    """Calls `changed` after each edit of one of `files()`, from its own thread.

    When `changed` is called, the edit is on disk; it may be called without an edit. `files` is
    called again at each check, so it may grow, and may name missing files. `problem` is called once
    if the system cannot watch; then edits are still noticed within a second.
    """

    def __init__(
        self,
        files: Callable[[], Iterable[str]],
        changed: Callable[[], None],
        problem: Callable[[str], None] = log.warning,
    ) -> None:
        self._files = files
        self._changed = changed
        self._problem = problem
        self._known = self._signs()
        self._has_complained = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rdv-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread: a library's thread must not run on while the interpreter ends."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def _signs(self) -> dict[str, Sign]:
        return {path: sign(path) for path in self._files()}

    def _look(self, *, has_news: bool) -> None:
        now = self._signs()
        if has_news or now != self._known:
            self._known = now
            self._changed()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._look(has_news=False)
            try:
                self._watch(folders_of(self._known))
            except (OSError, RuntimeError) as error:  # no folder yet, or no watches left
                if not self._has_complained and not isinstance(error, FileNotFoundError):
                    self._problem(f"edits are noticed within a second only: {error}")
                    self._has_complained = True
                self._stop.wait(AGAIN_S)

    def _watch(self, folders: dict[str, Sign]) -> None:
        """Watch until one of the folders is replaced, or `files` are in others."""
        from watchfiles import DefaultFilter, watch

        if not folders:
            raise FileNotFoundError
        for changes in watch(
            *folders,
            stop_event=self._stop,
            recursive=False,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
            watch_filter=DefaultFilter(ignore_dirs=()),
        ):
            if self._stop.is_set():
                return
            self._look(has_news=bool(changes))
            if folders_of(self._known) != folders:
                return


_CHUNK_BYTES = 1024 * 1024
_Sign = tuple[int, int, int]


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
