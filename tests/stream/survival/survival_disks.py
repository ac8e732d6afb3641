"""Replace the log's only access to the operating system by disks with faults."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

from rdv.stream.file.checkpoint import MARK_AT
from rdv.system.disk import Disk


class QuietDisk(Disk):
    """Act like the real disk, but do not wait for the medium."""

    def fdatasync(self, fd: int) -> None:
        os.fstat(fd)

    def sync_directory(self, path: str) -> None:
        os.stat(path)


class StepDisk(QuietDisk):
    """Call `step(name, path)` before each call that changes something, and `after` behind it.

    `step` may raise; for `pwrite`, `torn` may return the part of the data that is to be written.
    """

    def __init__(self) -> None:
        self.count = 0
        self.paths: dict[int, str] = {}

    def step(self, name: str, what: str) -> None:
        """Override this: it is called before each change."""

    def after(self, name: str, what: str) -> None:
        """Override this: it is called after each change."""

    def torn(self, name: str, what: str, data: bytes) -> bytes | None:
        """Return the part of `data` that is to be written, or None for all of it."""
        return None

    def _do(self, name: str, what: str, call: Callable[[], object]) -> object:
        self.count += 1
        self.step(name, what)
        result = call()
        self.after(name, what)
        return result

    def pwrite(self, fd: int, data: bytes, position: int) -> int:
        what = self.paths.get(fd, "?")
        if what.endswith("/lock") and position >= MARK_AT:
            what = f"{what.removesuffix('lock')}mark"  # it is in the same file as the checkpoint
        self.count += 1
        self.step("pwrite", what)
        part = self.torn("pwrite", what, bytes(data))
        written = os.pwrite(fd, data if part is None else part, position)
        self.after("pwrite", what)
        return written

    def ftruncate(self, fd: int, size: int) -> None:
        self._do("ftruncate", self.paths.get(fd, "?"), lambda: os.ftruncate(fd, size))

    def open(self, path: str, *, write: bool = False, create: bool = False) -> int:
        if create and not os.path.lexists(path):
            fd = self._do("create", path, lambda: Disk.open(self, path, write=write, create=True))
        else:
            fd = Disk.open(self, path, write=write, create=create)
        self.paths[fd] = path
        return fd

    def dup(self, fd: int) -> int:
        copy = os.dup(fd)
        self.paths[copy] = self.paths.get(fd, "?")
        return copy

    def fdatasync(self, fd: int) -> None:
        self._do("fdatasync", self.paths.get(fd, "?"), lambda: None)

    def sync_directory(self, path: str) -> None:
        self._do("sync_directory", path, lambda: None)

    def unlink(self, path: str) -> None:
        self._do("unlink", path, lambda: os.unlink(path))

    def rename(self, source: str, target: str) -> None:
        self._do("rename", target, lambda: os.rename(source, target))


class FaultyDisk(StepDisk):
    """Fail the changes number `first` to `first + length - 1` (1 is the next), with `code`.

    `kinds` are the calls that count. `leading` of a failing pwrite's bytes (a fraction) are written
    all the same: as a short write, and the call for the rest fails.
    """

    def __init__(
        self,
        code: int = errno.ENOSPC,
        kinds: tuple[str, ...] = ("pwrite", "create"),
        leading: float = 0.0,
    ) -> None:
        super().__init__()
        self._code, self._kinds, self._leading = code, kinds, leading
        self._first = self._length = 0
        self.seen = 0
        self.failed: list[tuple[str, str]] = []
        self.log: list[tuple[str, str]] = []
        self._owes = False

    def plan(self, first: int, length: int = 1) -> None:
        self._first, self._length, self.seen, self._owes = first, length, 0, False

    def step(self, name: str, what: str) -> None:
        self.log.append((name, Path(what).name))
        if self._owes and name == "pwrite":
            self._owes = False
            self._fail(name, what)
        if name in self._kinds:
            self.seen += 1
            if self._is_due() and not (name == "pwrite" and self._leading):
                self._fail(name, what)

    def _is_due(self) -> bool:
        return self._first <= self.seen < self._first + self._length

    def _fail(self, name: str, what: str) -> None:
        self.failed.append((name, Path(what).name))
        raise OSError(self._code, os.strerror(self._code))

    def torn(self, name: str, what: str, data: bytes) -> bytes | None:
        if self._leading and self._is_due():
            part = data[: int(len(data) * self._leading)]
            if not part or Path(what).name == "board":  # the log does not retry a tick
                self._fail(name, what)
            self._owes = True
            return part
        return None


class ShortDisk(StepDisk):
    """Write at most `bytes_max` at a time, as a kernel may."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__()
        self._bytes_max = bytes_max

    def torn(self, name: str, what: str, data: bytes) -> bytes | None:
        return data[: self._bytes_max]


class KillingDisk(StepDisk):
    """SIGKILL its own process at change number `at`: before it, after it, or within a write."""

    def __init__(self, at: int, when: str) -> None:
        super().__init__()
        self._at, self._when = at, when

    def _is_due(self) -> bool:
        return self.count == self._at

    def step(self, name: str, what: str) -> None:
        if self._is_due() and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)

    def torn(self, name: str, what: str, data: bytes) -> bytes | None:
        if self._is_due() and self._when == "within":
            return data[: max(1, len(data) * 2 // 3)]
        return None

    def after(self, name: str, what: str) -> None:
        if self._is_due():
            os.kill(os.getpid(), signal.SIGKILL)
