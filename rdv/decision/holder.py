"""Find out whether a decision is served now, by which process, and where it listens.

`rdv serve` holds the lock (`rdv.serve.supervisor.lock`); this module only reads it.
"""

from __future__ import annotations

import fcntl
import os

import msgspec

from rdv.decision.decision import RUN_DIRECTORY
from rdv.stream.errors import DiskFault
from rdv.system.faults import faults

FILE_NAME = "serve.lock"
HOLDER_NAME = "holder.json"
"""The same content as the lock, for users who may read the decision but not open its lock."""


class Holder(msgspec.Struct, frozen=True):
    """Describes the process that serves a decision, and its address."""

    pid: int
    started_ns: int
    host: str
    ports: list[int]
    monotonic_ns: int = 0
    """When it started, on the monotonic clock; 0 if the file does not say."""
    grpc_port: int = 0
    """Where the gRPC proxy listens; 0: there is none. `ports` are those of HTTP."""

    def running_s(self, wall_ns: int, monotonic_ns: int) -> float:
        """Return for how long it runs; a wall clock that was set meanwhile does not matter."""
        if self.monotonic_ns:
            return max(0, monotonic_ns - self.monotonic_ns) / 1e9
        return max(0, wall_ns - self.started_ns) / 1e9


def lock_path(directory: str) -> str:
    return os.path.join(directory, RUN_DIRECTORY, FILE_NAME)


def holder_path(directory: str) -> str:
    return os.path.join(directory, RUN_DIRECTORY, HOLDER_NAME)


def holder_of(directory: str) -> Holder | None:
    """Return the process that serves the decision now; None when there is none.

    Raises NotPermitted when this user may read neither the lock nor holder.json.
    """
    path = lock_path(directory)
    try:
        fd = os.open(path, os.O_RDONLY)
    except PermissionError:
        try:
            with faults(path, "read"):
                fd = os.open(holder_path(directory), os.O_RDONLY)
        except DiskFault:  # there is none
            return None
    except OSError:
        return None
    return _holder_by(fd)


def shown_holder_of(directory: str) -> Holder | None:
    """Return what `holder_of` returns, by holder.json: its lock is in the way of no `rdv serve`.

    It is for processes that look again and again, or that may be held up while they look.
    """
    try:
        fd = os.open(holder_path(directory), os.O_RDONLY)
    except OSError:
        return None
    return _holder_by(fd)


def _holder_by(fd: int) -> Holder | None:
    """Return the holder by a file that it has locked, and close the file."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return read_holder(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    return None


def read_holder(fd: int) -> Holder | None:
    """Return what an open lock file says; None if it is empty or cannot be read."""
    try:
        return msgspec.json.decode(os.pread(fd, 4096, 0), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None
