"""Model what a loss of power leaves: every write goes through `RecordingDisk`, and `Crashes` makes
the states that a file system may be found in afterwards.

Durable are the pages and the size of a file after `fdatasync`, and the names in a directory after
`sync_directory`. Everything else may have been written out, or not, each page and each name
independently; a file may have its new size without the data in it (zeros).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import dirname
from typing import Any

from rdv.system.disk import Disk

PAGE = 64


class BootedDisk(Disk):
    """Use the real files under another boot id. Wait for no medium, and list nothing endlessly."""

    def __init__(self, boot: int) -> None:
        self._boot = boot.to_bytes(16, "little")
        self._listed = 0

    def boot_id(self) -> bytes:
        return self._boot

    def fdatasync(self, fd: int) -> None:
        os.fstat(fd)

    def sync_directory(self, path: str) -> None:
        os.stat(path)

    def list_files(self, path: str) -> list[str]:
        self._listed += 1
        assert self._listed < 3000, "a directory is listed again and again"
        return super().list_files(path)


class RecordingDisk(BootedDisk):
    """Record every change to the files below `root`: (what, path or file id, ...)."""

    def __init__(self, root: Path, boot: int = 1) -> None:
        super().__init__(boot)
        self._root = str(root)
        self.ops: list[tuple] = []
        self.names: dict[str, int] = {}
        self.fds: dict[int, int] = {}
        self._ids = 0
        self.is_killed = False

    def adopt(self) -> None:
        """Take the existing files as the durable beginning."""
        for path in sorted(Path(self._root).rglob("*")):
            name = str(path.relative_to(self._root))
            if path.is_dir():
                self.ops.append(("mkdir", name))
            elif path.is_file():
                self._ids += 1
                self.names[name] = self._ids
                self.ops.append(("create", name, self._ids))
                self.ops.append(("write", self._ids, 0, path.read_bytes()))
        self.ops.append(("settle",))

    def note(self, *op: object) -> None:
        """Add a remark to the log of changes: what has been acknowledged, or synced."""
        self.ops.append(op)

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self._root)

    def open(self, path: str, *, write: bool = False, create: bool = False) -> int:
        name = self._name(path)
        is_new = create and not os.path.lexists(path)
        fd = super().open(path, write=write, create=create)
        if is_new:
            self._ids += 1
            self.names[name] = self._ids
            self.ops.append(("create", name, self._ids))
        self.fds[fd] = self.names.get(name, 0)
        return fd

    def dup(self, fd: int) -> int:
        copy = os.dup(fd)
        self.fds[copy] = self.fds[fd]
        return copy

    def pwrite(self, fd: int, data: bytes, position: int) -> int:
        self.ops.append(("write", self.fds[fd], position, bytes(data)))
        return os.pwrite(fd, data, position)

    def ftruncate(self, fd: int, size: int) -> None:
        self.ops.append(("truncate", self.fds[fd], size))
        os.ftruncate(fd, size)

    def fdatasync(self, fd: int) -> None:
        self.ops.append(("sync", self.fds[fd]))

    def sync_directory(self, path: str) -> None:
        self.ops.append(("sync_directory", self._name(path)))

    def unlink(self, path: str) -> None:
        os.unlink(path)
        self.names.pop(self._name(path), None)
        self.ops.append(("unlink", self._name(path)))

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)
        _move(self.names, self._name(source), self._name(target))
        self.ops.append(("rename", self._name(source), self._name(target)))

    def link(self, source: str, target: str) -> None:
        os.link(source, target)
        self.names[self._name(target)] = self.names[self._name(source)]
        self.ops.append(("link", self._name(source), self._name(target)))

    def mkdir(self, path: str, *, inside: str = "") -> None:
        missing = []
        assert not inside or os.path.isdir(inside)
        while not os.path.isdir(path):
            missing.append(self._name(path))
            path = dirname(path)
        for name in reversed(missing):
            Path(self._root, name).mkdir()
            self.ops.append(("mkdir", name))


@dataclass
class _File:
    durable: bytes = b""
    current: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)

    def write(self, position: int, data: bytes) -> None:
        if position > len(self.current):
            self._mark(len(self.current), position)
            self.current.extend(bytes(position - len(self.current)))
        self.current[position : position + len(data)] = data
        self._mark(position, position + len(data))

    def truncate(self, size: int) -> None:
        self._mark(min(size, len(self.current)), max(size, len(self.current)))
        del self.current[size:]
        self.current.extend(bytes(size - len(self.current)))

    def _mark(self, start: int, stop: int) -> None:
        self.dirty.update(range(start // PAGE, (stop + PAGE - 1) // PAGE))

    def sync(self) -> None:
        self.durable = bytes(self.current)
        self.dirty.clear()

    @property
    def is_durable(self) -> bool:
        return not self.dirty and len(self.durable) == len(self.current)

    def content(self, kept: set[int], *, has_new_size: bool) -> bytes:
        """Return the file's content with only the dirty pages in `kept` written out."""
        size = len(self.current) if has_new_size else len(self.durable)
        parts = []
        for page in range((size + PAGE - 1) // PAGE):
            is_new = page not in self.dirty or page in kept
            source = self.current if is_new else self.durable
            piece = bytes(source[page * PAGE : (page + 1) * PAGE])
            parts.append(piece.ljust(PAGE, b"\0"))
        return b"".join(parts)[:size]


State = dict[str, bytes | None]
"""Contents by path; None for a directory."""


class Crashes:
    """Replay the changes one by one; `states` yields what a crash may leave at this point."""

    def __init__(self, ops: list[tuple]) -> None:
        self._ops = ops
        self._files: dict[int, _File] = {}
        self._names: dict[str, int | None] = {}
        self._durable_names: dict[str, int | None] = {}
        self.notes: list[tuple] = []

    def steps(self) -> Iterator[int]:
        """Go on to the next change and yield its number, beginning after "settle"."""
        begun = not any(op[0] == "settle" for op in self._ops)
        for number, op in enumerate(self._ops):
            self._apply(op)
            begun = begun or op[0] == "settle"
            if begun:
                yield number

    def _apply(self, op: tuple) -> None:
        kind, what = op[0], op[1] if len(op) > 1 else None
        if kind == "create":
            self._names[what] = op[2]
            self._files[op[2]] = _File()
        elif kind == "mkdir":
            self._names[what] = None
        elif kind == "write":
            self._files[what].write(op[2], op[3])
        elif kind == "truncate":
            self._files[what].truncate(op[2])
        elif kind == "sync":
            self._files[what].sync()
        elif kind == "unlink":
            self._names.pop(what, None)
        elif kind == "rename":
            durable = {n: i for n, i in self._durable_names.items() if n.startswith(f"{what}/")}
            _move(self._names, what, op[2])
            # what is durable in a directory stays so when it is renamed
            _move(durable, what, op[2])
            self._durable_names |= durable
        elif kind == "link":
            self._names[op[2]] = self._names[what]
        elif kind == "sync_directory":
            self._sync_names(what)
        elif kind == "settle":
            for file in self._files.values():
                file.sync()
            self._durable_names = dict(self._names)
        else:
            self.notes.append(op)

    def _sync_names(self, directory: str) -> None:
        where = "" if directory == "." else directory
        for name in {*self._names, *self._durable_names}:
            if dirname(name) == where:
                if name in self._names:
                    self._durable_names[name] = self._names[name]
                else:
                    self._durable_names.pop(name, None)

    def states(self, turn: random.Random, randoms: int, singles: int) -> Iterator[State]:
        """Yield all kept; all lost; sizes or names without data; single pages; random subsets."""
        dirty = [(i, p) for i, f in self._files.items() for p in f.dirty]
        grown = {i for i, f in self._files.items() if not f.is_durable}
        loose = [
            name
            for name in {*self._names, *self._durable_names}
            if self._names.get(name, -1) != self._durable_names.get(name, -1)
        ]
        loose.sort()
        everything = set(dirty)
        yield self._state(everything, grown, set(loose))
        if not grown and not loose:
            return
        yield self._state(set(), set(), set())
        yield self._state(set(), set(), set(loose))
        yield self._state(set(), grown, set(loose))
        for name in loose:
            yield self._state(everything, grown, set(loose) - {name})
            yield self._state(everything, grown, {name})
        for page in turn.sample(dirty, min(singles, len(dirty))):
            yield self._state(everything - {page}, grown, set(loose))
            yield self._state({page}, grown, set(loose))
        for i in sorted(grown):
            yield self._state(everything, grown - {i}, set(loose))
        for _ in range(randoms if dirty or loose else 0):
            share = turn.random()
            yield self._state(
                {page for page in dirty if turn.random() < share},
                {i for i in sorted(grown) if turn.random() < 0.7},
                {name for name in loose if turn.random() < 0.8},
            )

    def _state(self, kept: set[tuple[int, int]], sized: set[int], names: set[str]) -> State:
        found: State = {}
        table = dict(self._durable_names)
        for name in names:
            if name in self._names:
                table[name] = self._names[name]
            else:
                table.pop(name, None)
        for name in sorted(table):
            place = dirname(name)
            if place and found.get(place, b"") is not None:
                continue  # The name's directory does not exist.
            number = table[name]
            if number is None:
                found[name] = None
            else:
                pages = {page for i, page in kept if i == number}
                file = self._files[number]
                found[name] = file.content(pages, has_new_size=number in sized)
        return found


def _move(names: dict[str, Any], source: str, target: str) -> None:
    """Rename a file, or a directory with all that is in it."""
    for name in [n for n in names if n == source or n.startswith(f"{source}/")]:
        names[target + name.removeprefix(source)] = names.pop(name)


def put(state: State, root: Path) -> None:
    """Make the directory `root` hold exactly this state."""
    present = {str(p.relative_to(root)): p for p in root.rglob("*")}
    for name in sorted(present, reverse=True):
        path = present[name]
        if name not in state or path.is_dir() != (state[name] is None):
            path.rmdir() if path.is_dir() else path.unlink()
    for name, data in state.items():
        path = root / name
        if data is None:
            path.mkdir(exist_ok=True)
        elif name not in present or path.read_bytes() != data:
            _write(path, data)


def _write(path: Path, data: bytes) -> None:
    """In place: ext4 flushes a file that is emptied and written again, which takes milliseconds."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)
