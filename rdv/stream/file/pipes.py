"""The system calls that waiting takes: FIFOs, and the system's notices of changed files."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import sys
from functools import cache

PRIVATE = 0o600
"""Records may be personal data: unless a stream's settings say otherwise, only its owner reads."""
DRAIN_BYTES = 4096

_NOTICES = 0x002 | 0x080 | 0x100
"""inotify: written to, moved here, made here."""


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


class Pipes:
    """A part of `Disk`. Thread-safe as far as the calls are."""

    def let_wait(self, path: str) -> None:
        """See `Disk.let_wait`."""
        raise NotImplementedError

    def make_fifo(self, path: str) -> None:
        os.mkfifo(path, PRIVATE)
        self.let_wait(path)

    def open_fifo_to_read(self, path: str) -> int:
        """The reader's end. It holds a write end too, so that it never sees an end of file."""
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def open_fifo_to_ring(self, path: str) -> int:
        """The ringer's end; OSError ENXIO when no reader lives."""
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    @staticmethod
    def has_no_reader(error: OSError) -> bool:
        """Whether opening or ringing a FIFO failed because its reader is dead."""
        return error.errno in (errno.ENXIO, errno.EPIPE)

    def ring(self, fd: int) -> None:
        """Wake the reader of a FIFO; a full one is ringing already. OSError when it is dead."""
        try:  # noqa: SIM105 - hot: a context manager costs as much as the call
            os.write(fd, b"\x01")
        except BlockingIOError:
            pass

    def drain(self, fd: int) -> None:
        """Take all rings out of a FIFO."""
        try:
            while len(os.read(fd, DRAIN_BYTES)) == DRAIN_BYTES:
                pass
        except BlockingIOError:
            pass

    def wait_readable(self, fd: int, timeout_s: float) -> bool:
        """Block until a FIFO is rung, at most `timeout_s`."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout_s) * 1000))

    def open_notices(self) -> int:
        """A descriptor that becomes readable when a folder of `add_notice` changes; where the
        system has no inotify, one that never does.
        """
        if sys.platform != "linux":
            return os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        fd: int = _libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return fd

    def add_notice(self, fd: int, path: str) -> bool:
        """Whether the folder's changes are told from now on: files that are written to, or come."""
        if sys.platform != "linux":
            return True
        return bool(_libc().inotify_add_watch(fd, os.fsencode(path), _NOTICES) >= 0)

    def drain_notices(self, fd: int) -> None:
        """Take out what has been told; a short read does not mean that this was all."""
        with contextlib.suppress(BlockingIOError):
            while os.read(fd, 16 * DRAIN_BYTES):
                pass
