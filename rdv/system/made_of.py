"""Find the files that a model is made of, hash them, and record what a worker has loaded.

A model is made of its file; for a Python file also of the files beside it that it imports or names,
and what those import or name in turn ("gbm.npz", or "gbm" alone); of its `artifacts`; and of what
it was seen to read while it was loaded (`rdv.models.opened`). Other files beside it do not count:
the model may well write some itself.
"""

from __future__ import annotations

import ast
import glob
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from rdv.system.faults import faults

ARTIFACTS_MAX = 1_000
"""The maximum number of files that the artifacts of a model may be: each is checked every second.
"""

LARGE_BYTES = 64 * 1024 * 1024
"""Only the model's own process reads a larger file: the supervisor must not wait for it."""

MISSING = "missing"
_DIGITS = 12

Sign = tuple[int, int, int, int]
"""A file's time of modification and of change, its size and its inode."""

UNKNOWN: Sign = (0, 0, 0, 0)
"""The sign of a file that could not be read, or that changed while it was read."""


class ArtifactsUnusable(ValueError):
    """An entry of `artifacts` names no file, or too many."""


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


def declared_files(
    directory: str, path: str, command: Sequence[str], artifacts: Sequence[str] = ()
) -> list[str]:
    """Return the files of a model that its settings and its code name, sorted; `path` and
    `artifacts` are relative to `directory`.

    A file that does not exist is listed if it is the model's own, and of artifacts never.
    """
    found = {file for entry in artifacts for file in artifact_files(directory, entry)}
    if command:
        words = (os.path.join(directory, word) for word in command)
        found.update(word for word in words if os.path.isfile(word))
    elif path:
        place = os.path.join(directory, path)
        found.update(_files_in(place) if os.path.isdir(place) else _code_files(place))
    return sorted(found)


def _code_files(path: str) -> list[str]:
    if not path.endswith(".py"):
        return [path]
    folder, name = os.path.split(path)
    return [os.path.join(folder, file) for file in footprint(name, *_beside(folder))]


def artifact_files(directory: str, entry: str) -> list[str]:
    """Return the files of one entry of `artifacts`: a file, all files in a folder, or a pattern.

    At most ARTIFACTS_MAX + 1 of them; hidden files in a folder do not count.
    """
    path = os.path.join(directory, entry)
    if os.path.isfile(path):
        return [path]
    if os.path.isdir(path):
        return list(_files_in(path))
    places = (place for place in glob.iglob(path, recursive=True) if os.path.isfile(place))
    return [place for place, _ in zip(places, range(ARTIFACTS_MAX + 1), strict=False)]


def _files_in(folder: str) -> Iterable[str]:
    count = 0
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        for name in sorted(names):
            if name.startswith(".") or not os.path.isfile(os.path.join(place, name)):
                continue
            yield os.path.join(place, name)
            count += 1
            if count > ARTIFACTS_MAX:
                return


def check_artifacts(directory: str, artifacts: Sequence[str]) -> None:
    """Raise ArtifactsUnusable for an entry that names no file, and for too many files."""
    count = 0
    for entry in artifacts:
        found = len(artifact_files(directory, entry))
        if not found:
            raise ArtifactsUnusable(f"artifacts: {entry!r} is no file or folder with files")
        count += found
    if count > ARTIFACTS_MAX:
        raise ArtifactsUnusable(f"artifacts: they are more than {ARTIFACTS_MAX:,} files")


class Hashes:
    """Hashes of files; a file is read again only when its times, size or inode have changed."""

    def __init__(self, known: Mapping[str, tuple[Sign, str]] | None = None) -> None:
        self._known = dict(known or {})

    def of(self, path: str) -> str:
        """Return the hash; MISSING for a file that cannot be read."""
        try:
            sign = sign_of(path)
            known = self._known.get(path)
            if known is not None and known[0] == sign:
                return known[1]
            self._known[path] = sign, hash_file(path)
        except OSError:
            return MISSING
        return self._known[path][1]

    def sign(self, path: str) -> Sign:
        """Return the sign of the file whose hash `of` has returned; UNKNOWN when it was missing."""
        return self._known[path][0] if path in self._known else UNKNOWN


def sign_of(path: str) -> Sign:
    """Return what changes with a file. Raises OSError."""
    stat = os.stat(path)
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino


def hash_file(path: str) -> str:
    """Return a hash of a file's bytes. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version_of(declared: str, hashes: Mapping[str, str], command: Sequence[str] = ()) -> str:
    """Return a model's version: the declared one, if there is one, "@", and a hash of its files.

    `hashes` are by path relative to the decision, so that a copy of it has the same version. Pure.
    """
    if not hashes and not command:
        return declared
    if len(hashes) == 1 and not command:
        (digest,) = hashes.values()
    else:
        whole = hashlib.sha256()
        for word in command:
            whole.update(word.encode("utf-8", "surrogateescape") + b"\0")
        for path in sorted(hashes):
            line = f"{path}\0{hashes[path]}\n"
            whole.update(line.encode("utf-8", "surrogateescape"))
        digest = whole.hexdigest()
    return f"{declared}@{digest[:_DIGITS]}" if declared else digest[:_DIGITS]


class MadeOf(msgspec.Struct, frozen=True):
    """What a worker has loaded as a model: its version, and the files that it is made of.

    Paths are relative to the decision's directory.
    """

    version: str = ""
    before: str = ""
    """The version that ran before this one; empty when there was none."""
    files: dict[str, tuple[Sign, str]] = {}
    """The files with their signs and hashes when it was loaded."""
    written: list[str] = []
    """Files of `files` that it wrote itself while it was loaded: a new one needs no restart."""
    state: list[str] = []
    """Files that it has written after it was loaded: its own state, not what it is made of."""

    @property
    def own(self) -> frozenset[str]:
        """Return the files that the model writes itself."""
        return frozenset((*self.written, *self.state))


def _path(directory: str, name: str) -> str:
    return os.path.join(directory, ".rdv", "made-of", f"{name}.json")


def read_made_of(directory: str, name: str) -> MadeOf:
    """Return what the model's worker has recorded; empty when there is no usable record."""
    try:
        with open(_path(directory, name), "rb") as file:
            return msgspec.json.decode(file.read(), type=MadeOf)
    except (OSError, msgspec.DecodeError):
        return MadeOf()


def write_made_of(directory: str, name: str, made_of: MadeOf) -> None:
    """Replace the record. Raises SystemFaults."""
    path = _path(directory, name)
    with faults(path, "write"):
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        beside = f"{path}.{os.getpid()}"
        with open(beside, "wb") as file:
            file.write(msgspec.json.encode(made_of))
        os.replace(beside, path)


def relative(paths: Iterable[str], directory: str) -> list[str]:
    """Return paths in a form that does not depend on where the decision lies. Pure."""
    return [os.path.relpath(path, directory) for path in paths]
