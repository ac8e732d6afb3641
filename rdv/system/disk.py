"""A `Disk` makes the system calls of the log, and of other files that must appear complete.

Everything that the file log does to files, locks, FIFOs and the kernel goes through a `Disk`, so
that tests can replace it by one that is faulty or full or that loses unsynced data. The methods of
the hot path are the system calls themselves, without a Python frame in between. No module of
`rdv.stream` may import os, fcntl, mmap or select (import-linter checks that).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import mmap
import os
import shutil
import stat
import sys
import time
from typing import ClassVar
from uuid import uuid4

from rdv.coded import coded
from rdv.native import NATIVE, Native
from rdv.system.boot import boot_id
from rdv.system.flock import Flocks
from rdv.system.forks import forget, keep_from_children
from rdv.system.pipes import PRIVATE, Pipes

log = logging.getLogger("rdv.stream")

Map = mmap.mmap
SEEK_END = os.SEEK_END
BROKEN_SUFFIX = ".broken"

_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO}
"""The errors of a path without a file: nothing, or a directory, a socket, a link loop."""


class NotAFile(FileNotFoundError):
    """There is no file at the path, but there may be something else: it counts as missing."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ENOENT, "there is no regular file", path)


def directory_mode(file_mode: int) -> int:
    """Return a directory's mode: readers may enter it; a shared one keeps its group."""
    mode = file_mode | 0o100 | (file_mode & 0o044) >> 2
    return mode | 0o2000 if mode & 0o070 else mode


def waiting_mode(file_mode: int) -> int:
    """Return the mode for waiting, as readers write to FIFOs and to the wake-up board."""
    return file_mode | (file_mode & 0o044) >> 1


class Disk(Pipes, Flocks):
    """A `Disk` makes the system calls of the log. Thread-safe as far as the calls are."""

    file_mode = PRIVATE
    """The mode of the files that it makes; the umask does not change it."""

    may_change = True
    """Whether modes that keep the owner from reading are corrected."""

    native: ClassVar[Native | None] = NATIVE
    """The usual reads and appends in C, which make several system calls in one call."""

    def __init_subclass__(cls) -> None:
        # A subclass has its own system calls, which the native ones would bypass.
        cls.native = None

    pread = staticmethod(os.pread)
    pwrite = staticmethod(os.pwrite)
    close = staticmethod(os.close)
    ftruncate = staticmethod(os.ftruncate)
    rename = staticmethod(os.rename)
    link = staticmethod(os.link)
    unlink = staticmethod(os.unlink)
    dup = staticmethod(os.dup)
    monotonic_ns = staticmethod(time.monotonic_ns)
    lseek = staticmethod(os.lseek)
    give_way = staticmethod(getattr(os, "sched_yield", lambda: None))
    pid = staticmethod(os.getpid)
    boot_id = staticmethod(boot_id)

    def size(self, fd: int) -> int:
        """Return the bytes in an open file (one lseek: a third of the cost of fstat)."""
        return self.lseek(fd, 0, os.SEEK_END)

    @staticmethod
    def path_size(path: str) -> int:
        """Return the bytes in a file that need not be open. Raises NotAFile."""
        return _stat_file(path).st_size

    @staticmethod
    def signature(path: str) -> tuple[int, int, int]:
        """Return a value that changes whenever a file is replaced by rename, its only change."""
        facts = _stat_file(path)
        return (facts.st_ino, facts.st_mtime_ns, facts.st_size)

    @staticmethod
    def inode(fd: int) -> int:
        """Return the number that tells an open file from all others of its file system."""
        return os.fstat(fd).st_ino

    @staticmethod
    def inode_at(path: str) -> int:
        """Return the number of the file or directory at a path. Raises OSError."""
        return os.stat(path).st_ino

    def dup_private(self, fd: int) -> int:
        """Return another descriptor of an open file, which no child process inherits."""
        copy = self.dup(fd)
        keep_from_children(copy)
        return copy

    @staticmethod
    def dup2(fd: int, number: int) -> None:
        """Make the descriptor `number` refer to the file of `fd`, with no gap in between."""
        os.dup2(fd, number, inheritable=False)

    def keep_private(self, fd: int) -> int:
        """Have `fd` closed in every child process."""
        keep_from_children(fd)
        return fd

    def close_private(self, fd: int) -> None:
        forget(fd)
        self.close(fd)

    def open(self, path: str, *, write: bool = False, create: bool = False) -> int:
        """Open a regular file; a new one is empty and has the mode `file_mode`.

        Anything else at the path (a directory, a FIFO, a link to nowhere) counts as a missing file;
        with `create` it is set aside. Raises NotAFile, and OSError.
        """
        # Without O_NONBLOCK, opening a FIFO would wait for its other end.
        flags = os.O_CLOEXEC | os.O_NONBLOCK | (os.O_RDWR if write else os.O_RDONLY)
        while True:
            try:
                return self._open_file(path, flags)
            except FileNotFoundError:
                if not create:
                    raise
            try:
                fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, PRIVATE)
            except FileExistsError:
                if self.exists(path) and not self.is_file(path):
                    self.set_aside(path)
                continue
            except NotADirectoryError:
                raise NotAFile(path) from None
            if self.file_mode != PRIVATE:
                os.fchmod(fd, self.file_mode)
            return fd

    def _open_file(self, path: str, flags: int) -> int:
        try:
            fd = os.open(path, flags)
        except PermissionError:
            if not self._let_owner_read(path):
                raise
            fd = os.open(path, flags)
        except OSError as error:
            if error.errno in _NO_FILE:
                raise NotAFile(path) from error
            raise
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        raise NotAFile(path)

    def _let_owner_read(self, path: str) -> bool:
        """Give a file of ours, and its directory, a mode that lets us read it; none was meant to.

        Returns whether a mode has changed.
        """
        has_changed = False
        for one in (os.path.dirname(path), path):
            with contextlib.suppress(OSError):
                facts = os.stat(one)
                is_directory, mode = stat.S_ISDIR(facts.st_mode), self.file_mode
                is_ours = self.may_change and facts.st_uid == os.geteuid()
                if is_ours and not facts.st_mode & 0o400:
                    os.chmod(one, directory_mode(mode) if is_directory else mode)
                    text = "%s could not be read by its owner: its mode is set again"
                    log.warning(text, one, extra=coded("mode_restored"))
                    has_changed = True
        return has_changed

    @staticmethod
    def open_directory(path: str) -> int:
        """Open a directory, to lock it or to make its names durable. Raises OSError."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)

    def set_aside(self, path: str, *, for_directory: bool = False) -> str:
        """Rename what lies at `path` in place of a file, or of a directory; returns its new path.

        If another process was quicker, and its new file or directory is there, it stays.
        """
        aside = self.path_aside(path)
        with contextlib.suppress(FileNotFoundError):
            self.rename(path, aside)
            if for_directory and self.is_directory(aside):
                with contextlib.suppress(OSError):
                    self.rename(aside, path)
            elif not for_directory and self.is_file(aside):
                with contextlib.suppress(FileExistsError):
                    self.link(aside, path)
                self.unlink(aside)
            else:
                text = "%s is not what belongs there: it was renamed to %s"
                log.warning(text, path, aside, extra=coded("misplaced_renamed"))
        return aside

    def move_over(self, source: str, path: str) -> None:
        """Rename the file `source` to `path`; a directory that is there is set aside."""
        try:
            self.rename(source, path)
        except IsADirectoryError:
            self.set_aside(path)
            self.rename(source, path)

    def remove_file(self, path: str) -> None:
        """Delete a file. One that is missing, or is no file, is left."""
        try:
            self.unlink(path)
        except OSError:
            if self.is_file(path):
                raise

    def apply_mode(self, path: str, waiting: str) -> bool:
        """Give `path` and all in it the modes of `file_mode`. Returns whether they differed.

        `waiting` is the name of the directory that readers write to. Only the owner can change
        modes; for all other users nothing happens.
        """
        wanted = directory_mode(self.file_mode)
        facts = os.stat(path)
        if facts.st_uid != os.geteuid() or facts.st_mode & 0o777 == wanted & 0o777:
            return False
        for directory, _, files in os.walk(path):
            is_waiting = directory == os.path.join(path, waiting)
            mode = waiting_mode(self.file_mode) if is_waiting else self.file_mode
            for name in files:
                with contextlib.suppress(OSError):  # deleted meanwhile, or a link to nowhere
                    os.chmod(os.path.join(directory, name), mode)
            if directory != path:
                os.chmod(directory, directory_mode(mode))
        os.chmod(path, wanted)  # last: its mode marks that everything is done
        return True

    def write_all(self, fd: int, data: bytes, position: int) -> None:
        """Call pwrite until all of `data` is written: the kernel may write less than asked for."""
        written = self.pwrite(fd, data, position)
        while written < len(data):
            more = self.pwrite(fd, memoryview(data)[written:], position + written)
            if more == 0:
                raise OSError(errno.EIO, "the kernel wrote nothing")
            written += more

    def read_all(self, fd: int, size_bytes: int, position: int) -> bytes:
        """Call pread until `size_bytes` are read or the file ends."""
        data = self.pread(fd, size_bytes, position)
        while data and len(data) < size_bytes:
            more = self.pread(fd, size_bytes - len(data), position + len(data))
            if not more:
                break
            data += more
        return data

    def fdatasync(self, fd: int) -> None:
        """Make the file's data and size durable; on macOS through the drive's cache."""
        if sys.platform == "darwin":
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable."""
        fd = self.open_directory(path)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def mkdir(self, path: str, *, inside: str = "") -> None:
        """Make a directory with its parents. An existing one is no error.

        `inside` is a directory that has to exist: neither it nor its parents are made, so that an
        open stream makes nothing where its directory was renamed or deleted. What is inside it in
        the place of a directory, and is none, is set aside. Raises OSError.
        """
        if os.path.isdir(path):
            return
        if path == inside:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        parent = os.path.dirname(path)
        if parent:
            self.mkdir(parent, inside=inside)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if os.path.isdir(path):
                return
            if not inside:
                raise
            self.set_aside(path, for_directory=True)
            self.mkdir(path, inside=inside)
        else:
            if self.file_mode != PRIVATE:
                os.chmod(path, directory_mode(self.file_mode))

    def let_wait(self, path: str) -> None:
        """Let readers write to this file, or make files in this directory, which waiting takes."""
        if self.file_mode != PRIVATE:
            mode = waiting_mode(self.file_mode)
            os.chmod(path, directory_mode(mode) if os.path.isdir(path) else mode)

    def list_directory(self, path: str) -> list[str]:
        """Return the names in a directory, in no order. Raises FileNotFoundError."""
        try:
            try:
                return os.listdir(path)
            except PermissionError:
                if not self._let_owner_read(path):
                    raise
                return os.listdir(path)
        except OSError as error:
            if error.errno in _NO_FILE:
                raise NotAFile(path) from error
            raise

    def list_files(self, path: str) -> list[str]:
        """Return the names of the regular files in a directory, as `list_directory` does."""
        try:
            with os.scandir(path) as entries:
                return [entry.name for entry in entries if _is_file(entry)]
        except OSError:
            return [name for name in self.list_directory(path) if self.is_file(f"{path}/{name}")]

    def remove_tree(self, path: str) -> None:
        """Delete a directory with all that is in it."""
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            self.unlink(path)

    def is_directory(self, path: str) -> bool:
        return os.path.isdir(path)

    def exists(self, path: str) -> bool:
        """Return whether there is anything at the path."""
        return os.path.lexists(path)

    def is_file(self, path: str) -> bool:
        """Return whether there is a regular file at the path."""
        return os.path.isfile(path)

    def read_file(self, path: str) -> bytes:
        """Return the contents of a small file. Raises NotAFile."""
        fd = self.open(path)
        try:
            with open(fd, "rb", closefd=False) as file:
                return file.read()
        finally:
            self.close(fd)

    def replace_file(self, path: str, data: bytes, *, durable: bool = False) -> None:
        """Put a complete new file in place of `path`: a reader sees the old one or the new one."""
        scratch = f"{path}.{uuid4().hex}.tmp"
        fd = self.open(scratch, write=True, create=True)
        try:
            try:
                self.write_all(fd, data, 0)
                if durable:
                    self.fdatasync(fd)
            finally:
                self.close(fd)
            self.move_over(scratch, path)
        except OSError:
            with contextlib.suppress(OSError):
                self.unlink(scratch)
            raise
        if durable:
            self.sync_directory(os.path.dirname(path))

    @staticmethod
    def is_unlinked(fd: int) -> bool:
        """Return whether an open file has been deleted (its last name is gone)."""
        return os.fstat(fd).st_nlink == 0

    @staticmethod
    def is_at(fd: int, path: str) -> bool:
        """Return whether `path` still names the open file `fd`: not deleted, moved or replaced."""
        try:
            return os.path.samestat(os.fstat(fd), os.stat(path))
        except OSError as error:
            if error.errno in _NO_FILE:
                return False
            raise

    def copy_file(self, source: str, target: str) -> None:
        """Copy a file's bytes (for the .broken copies of a repair), durably."""
        data_fd, copy_fd = self.open(source), self.open(target, write=True, create=True)
        try:
            position = 0
            while chunk := self.pread(data_fd, 1 << 20, position):
                self.write_all(copy_fd, chunk, position)
                position += len(chunk)
            self.fdatasync(copy_fd)
        finally:
            self.close(data_fd)
            self.close(copy_fd)

    def map_file(self, path: str, *, size_bytes: int = 0) -> mmap.mmap:
        """Map a file for reading only: a store through a map raises SIGBUS on a full disk."""
        fd = self.open(path)
        try:
            return mmap.mmap(fd, size_bytes, prot=mmap.PROT_READ)
        finally:
            self.close(fd)

    def pause(self, seconds: float) -> None:
        """Do nothing for a while, so that other processes notice a change."""
        time.sleep(seconds)

    def free_path(self, path: str) -> str:
        """Return `path`, with .1, .2 … appended when that exists."""
        candidate, number = path, 1
        while self.exists(candidate):
            candidate, number = f"{path}.{number}", number + 1
        return candidate

    def path_aside(self, path: str) -> str:
        """Return a free path for what is set aside from `path`, or copied before a change."""
        return self.free_path(path + BROKEN_SUFFIX)

    def new_name(self) -> str:
        """Return a name that no other process makes."""
        return f"{os.getpid()}-{uuid4().hex[:8]}"


def _stat_file(path: str) -> os.stat_result:
    """Return the facts of a regular file. Raises NotAFile."""
    try:
        facts = os.stat(path)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise NotAFile(path) from error
        raise
    if not stat.S_ISREG(facts.st_mode):
        raise NotAFile(path)
    return facts


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a regular file or a link to one; False for a link loop."""
    try:
        return entry.is_file()
    except OSError:
        return False
