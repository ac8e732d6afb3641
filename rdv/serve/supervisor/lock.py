"""A lock allows only one `rdv serve` per decision; its file also names the HTTP address."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from typing import Self

import msgspec

from rdv.coded import ShowLine
from rdv.decision.accepted import MISSING, identity_of
from rdv.decision.holder import Holder, holder_path, lock_path, read_holder
from rdv.errors import ConflictFault, RdvError, SystemFault
from rdv.system.disk import Disk, directory_mode
from rdv.system.faults import faults
from rdv.system.file_lock import FileLock

LOOK_S = 1.0
"""How often the lock is compared with the files that are there, in seconds."""

LOOKED_AT_S = 0.5
"""How long to wait for the lock, in seconds: a command that reads its holder locks it briefly."""


class AlreadyServed(ConflictFault):
    """Another `rdv serve` runs the decision."""

    directory: str
    pid: int
    since: str

    def text(self) -> str:
        by = f"process {self.pid}" if self.pid else "another process"
        since = f" since {self.since}" if self.since else ""
        return f"{self.directory} is served already, by {by}{since}"

    def hint(self) -> str:
        look = f"See it: rdv status {self.directory}"
        return f"{look}  End it: kill {self.pid}" if self.pid else look


class DirectoryReplaced(ConflictFault):
    """The decision's directory is another one than `rdv serve` was started with."""

    directory: str

    _text = (
        "{directory} has been replaced by another directory (a rename, or a symlink that leads "
        "elsewhere now): rdv serve ends, so that the two are not mixed"
    )
    _hint = "Serve the new one: rdv serve {directory}"


class ServeLock:
    """Holds the lock as long as the process lives, however it ends.

    Raises AlreadyServed, SystemFaults.

    There are two locks, of the run directory and of a file in it, so that one remains when the
    other is deleted; `look` notices what was deleted or replaced. Only the owner may open the run
    directory and the file, because a process that can open them can lock them. If `mode` (that of
    log.mode) lets other users read, they may enter the run directory and read holder.json.
    """

    def __init__(
        self, directory: str, host: str, ports: list[int], mode: int = 0o600, grpc_port: int = 0
    ) -> None:
        self._directory = directory
        self._path = path = lock_path(directory)
        self._mode = mode
        self._me = Holder(os.getpid(), time.time_ns(), host, ports, time.monotonic_ns(), grpc_port)
        self._identity = identity_of(directory)
        self._folder_fd = self._fd = self._shown_fd = -1
        self._mutex = threading.Lock()
        self._stop = threading.Event()
        self._lost: RdvError | None = None
        with faults(path, "write to"):
            self._take()

    def _take(self) -> None:
        """Lock what is at the path now. Raises AlreadyServed and OSError."""
        folder = os.path.dirname(self._path)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        is_ours = self._folder_fd >= 0 and Disk.is_at(self._folder_fd, folder)
        folder_fd = self._folder_fd if is_ours else os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fd = -1
        try:
            _make_private(folder_fd, directory_mode(self._mode) & ~0o066)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            _make_private(fd, 0o600)
            self._lock(fd, *([] if is_ours else [folder_fd]))
            os.ftruncate(fd, 0)
            os.pwrite(fd, msgspec.json.encode(self._me) + b"\n", 0)
            shown_fd = self._show()
        except BaseException:
            _close(fd, -1 if is_ours else folder_fd)
            raise
        _close(self._fd, self._shown_fd, -1 if is_ours else self._folder_fd)
        self._fd, self._shown_fd, self._folder_fd = fd, shown_fd, folder_fd

    def _show(self) -> int:
        """Write holder.json and return its descriptor. Raises OSError.

        The file is locked before it gets its name, so that no other process can have locked it.
        """
        path = holder_path(self._directory)
        scratch = f"{path}.tmp"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch)
        fd = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(fd, self._mode & 0o644)
            os.pwrite(fd, msgspec.json.encode(self._me) + b"\n", 0)
            os.rename(scratch, path)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _lock(self, fd: int, *others: int) -> None:
        """Lock all of them. Raises AlreadyServed when another process has locked one of them."""
        for one in (fd, *others):
            if not FileLock(Disk(), one).acquire(LOOKED_AT_S):
                raise _served(self._directory, read_holder(fd))
        if not Disk.is_at(fd, self._path):  # deleted at this very moment
            raise _served(self._directory, None)

    def _is_current(self) -> bool:
        return (
            Disk.is_at(self._fd, self._path)
            and Disk.is_at(self._folder_fd, os.path.dirname(self._path))
            and Disk.is_at(self._shown_fd, holder_path(self._directory))
        )

    def look(self) -> None:
        """Lock again what has been deleted or replaced.

        Raises DirectoryReplaced, AlreadyServed when another `rdv serve` was quicker, and
        SystemFaults.
        """
        identity = identity_of(self._directory)
        if identity == MISSING:
            return  # renamed away: perhaps it comes back
        if identity != self._identity:
            raise DirectoryReplaced(self._directory)
        with self._mutex, faults(self._path, "write to"):
            if self._fd >= 0 and not self._is_current():
                self._take()

    @contextlib.contextmanager
    def watched(self, report: ShowLine) -> Iterator[None]:
        """Check every second while the block runs.

        A lost lock ends the block by a SIGTERM to this process, and its error is raised when the
        block is left.
        """
        thread = threading.Thread(target=self._watch, args=(report,), name="rdv-lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
        if self._lost is not None:
            raise self._lost

    def _watch(self, report: ShowLine) -> None:
        last = ""
        while not self._stop.wait(LOOK_S):
            try:
                self.look()
            except SystemFault as error:
                if (text := error.text()) != last:
                    last = text
                    report(text, error.code(), self._directory)
            except RdvError as error:
                report(error.text(), error.code(), self._directory)
                self._lost = error
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def close(self) -> None:
        """Release the lock. The file stays: deleting it could delete the next process's lock."""
        with self._mutex:
            if self._fd >= 0:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, 0)
                    os.ftruncate(self._shown_fd, 0)
                _close(self._fd, self._folder_fd, self._shown_fd)
            self._fd = self._folder_fd = self._shown_fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_private(fd: int, mode: int) -> None:
    """Set the mode: an older version, or another `log.mode`, may have allowed more."""
    found = os.fstat(fd)
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != mode:
        os.fchmod(fd, mode)


def _close(*fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def _served(directory: str, holder: Holder | None) -> AlreadyServed:
    if holder is None:
        return AlreadyServed(directory, 0, "")
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.started_ns / 1e9))
    return AlreadyServed(directory, holder.pid, since)
