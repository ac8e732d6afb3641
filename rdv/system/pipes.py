"""The module makes the system calls for waiting: FIFOs and inotify."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import sys
from functools import cache

PRIVATE = 0o600
"""The default mode of files, which only their owner may read: records may be personal data."""
DRAIN_BYTES = 4096

_NOTICES = 0x002 | 0x080 | 0x100
"""The inotify events: a file is written to, moved into the folder or made there."""


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


class Pipes:
    """`Pipes` is the part of `Disk` for waiting. Thread-safe as far as the calls are."""

    def let_wait(self, path: str) -> None:
        """Let readers write to a FIFO or file; see `Disk.let_wait`."""
        raise NotImplementedError

    def make_fifo(self, path: str) -> None:
        os.mkfifo(path, PRIVATE)
        self.let_wait(path)

    def open_fifo_to_read(self, path: str) -> int:
        """Open the reader's end, also for writing, so that it never sees an end of file."""
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def open_fifo_to_notify(self, path: str) -> int:
        """Open the writer's end, for notifying. Raises OSError ENXIO when no reader is alive."""
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    @staticmethod
    def has_no_reader(error: OSError) -> bool:
        """Return whether opening or writing to a FIFO failed because its reader is dead."""
        return error.errno in (errno.ENXIO, errno.EPIPE)

    def notify(self, fd: int) -> None:
        """Wake the reader of a FIFO; a full one wakes it already.

        Raises OSError when the reader is dead.
        """
        try:  # noqa: SIM105 - hot: a context manager costs as much as the call
            os.write(fd, b"\x01")
        except BlockingIOError:
            pass

    def drain(self, fd: int) -> None:
        """Drain all notifications from a FIFO."""
        try:
            while len(os.read(fd, DRAIN_BYTES)) == DRAIN_BYTES:
                pass
        except BlockingIOError:
            pass

    def wait_readable(self, fd: int, timeout_s: float) -> bool:
        """Block until a FIFO is readable, at most `timeout_s`. Returns whether it is."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout_s) * 1000))

    def open_notices(self) -> int:
        """Open a descriptor that becomes readable when a folder of `add_notice` changes.

        Where the system has no inotify, it never does. Raises OSError.
        """
        if sys.platform != "linux":
            return os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        fd: int = _libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return fd

    def add_notice(self, fd: int, path: str) -> bool:
        """Watch a folder for files that are made, moved in or written. Returns whether it works."""
        if sys.platform != "linux":
            return True
        return bool(_libc().inotify_add_watch(fd, os.fsencode(path), _NOTICES) >= 0)

    def drain_notices(self, fd: int) -> None:
        """Drain the pending notices; a short read does not mean that this was all."""
        with contextlib.suppress(BlockingIOError):
            while os.read(fd, 16 * DRAIN_BYTES):
                pass
