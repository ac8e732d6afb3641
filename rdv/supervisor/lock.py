"""One `rdv serve` a decision: a lock in its run directory, which also says where the door is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import Self

import msgspec

from rdv.config import RUN_DIRECTORY
from rdv.stream.file.disk import faults
from rdv.supervisor.errors import AlreadyServed

FILE_NAME = "serve.lock"


class Holder(msgspec.Struct, frozen=True):
    """Who serves a decision, and where."""

    pid: int
    started_ns: int
    host: str
    ports: list[int]
    monotonic_ns: int = 0
    """When it started, on the monotonic clock; 0 of one that does not say."""

    def running_s(self, wall_ns: int, monotonic_ns: int) -> float:
        """For how long; a wall clock that was set meanwhile does not matter."""
        if self.monotonic_ns:
            return max(0, monotonic_ns - self.monotonic_ns) / 1e9
        return max(0, wall_ns - self.started_ns) / 1e9


def lock_path(directory: str) -> str:
    return os.path.join(directory, RUN_DIRECTORY, FILE_NAME)


class ServeLock:
    """Held as long as the process lives, however it ends. Raises AlreadyServed, SystemFaults."""

    def __init__(self, directory: str, host: str, ports: list[int]) -> None:
        path = lock_path(directory)
        with faults(path, "write to"):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _read(self._fd)
                os.close(self._fd)
                raise _served(directory, holder) from None
            me = Holder(os.getpid(), time.time_ns(), host, ports, time.monotonic_ns())
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, msgspec.json.encode(me) + b"\n", 0)

    def close(self) -> None:
        """The file stays: who deletes it might delete the lock of the next one."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def holder_of(directory: str) -> Holder | None:
    """Who serves the decision now; None when nobody does."""
    try:
        fd = os.open(lock_path(directory), os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    return None


def _read(fd: int) -> Holder | None:
    try:
        return msgspec.json.decode(os.pread(fd, 4096, 0), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None


def _served(directory: str, holder: Holder | None) -> AlreadyServed:
    if holder is None:
        return AlreadyServed(directory, 0, "")
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.started_ns / 1e9))
    return AlreadyServed(directory, holder.pid, since)
