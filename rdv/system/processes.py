"""Look at processes: their children, command lines and ports, and whether they have ended.

By /proc (proc(5)), so most of it is for Linux; elsewhere there is nothing to find.
"""

from __future__ import annotations

import contextlib
import os
import select
from typing import NamedTuple

_COMMAND_CHARACTERS_MAX = 80
_PARENT, _START = 1, 19
"""Indexes in /proc/PID/stat, counted behind the name (proc(5), fields 4 and 22)."""


def children_of(parent: int) -> list[int]:
    """Return the children of a process; none where there is no /proc."""
    return [pid for pid, its_parent in parents().items() if its_parent == parent]


def parents() -> dict[int, int]:
    """Return the parent of each process; empty where there is no /proc."""
    found = {}
    for pid in processes():
        fields = _stat(pid)
        if len(fields) > _START:
            found[pid] = int(fields[_PARENT])
    return found


def processes() -> list[int]:
    """Return all processes that /proc shows."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []


def start_of(pid: int) -> int:
    """Return when the process was started, in ticks since the boot; 0 when there is none.

    The start and the process's number identify it for good.
    """
    fields = _stat(pid)
    return int(fields[_START]) if len(fields) > _START else 0


def environment_of(pid: int) -> list[bytes]:
    """Return the environment of the process at its start; empty when it may not be read."""
    return _proc(pid, "environ").split(b"\0")


def command_line_of(pid: int) -> bytes:
    """Return the command line of the process, with a space between two arguments."""
    return _proc(pid, "cmdline").rstrip(b"\0").replace(b"\0", b" ")


def state_of(pid: int) -> bytes:
    """Return the letter of its state, b"Z" for a zombie; empty when there is none."""
    return (_stat(pid) or [b""])[0]


def _stat(pid: int) -> list[bytes]:
    return _proc(pid, "stat").rpartition(b")")[2].split()


def _proc(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def is_process(pid: int) -> bool:
    """Return whether there is such a process (a zombie does not count)."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return state_of(pid) != b"Z"


def await_end(pid: int, timeout_s: float) -> bool:
    """Wait until the process has ended, by its pidfd; return False after `timeout_s`."""
    if not hasattr(os, "pidfd_open"):
        return False
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    try:
        return bool(select.select([fd], [], [], timeout_s)[0])
    finally:
        os.close(fd)


class PortHolder(NamedTuple):
    """Names a process, and its command line."""

    pid: int
    command: str

    def __str__(self) -> str:
        command = self.command
        if len(command) > _COMMAND_CHARACTERS_MAX:
            command = command[: _COMMAND_CHARACTERS_MAX - 1] + "…"
        return f"process {self.pid} ({command})"


def holder_of_port(port: int) -> PortHolder | None:
    """Return the process that listens there; None when the system does not show it.

    Linux shows one's own processes only, macOS shows them to root only.
    """
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            here = connection.laddr
            if connection.status != psutil.CONN_LISTEN or not here or here.port != port:
                continue
            if connection.pid:
                words = psutil.Process(connection.pid).cmdline()
                return PortHolder(connection.pid, " ".join(words))
    return None
