"""Finds the process that listens on a port, by /proc: on Linux only, and only for own processes."""

from __future__ import annotations

import contextlib
import os
import select
from typing import NamedTuple

_LISTEN = "0A"
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_COMMAND_BYTES_MAX = 4096


class PortHolder(NamedTuple):
    """Names a process, and the words of its command line."""

    pid: int
    command: tuple[str, ...]

    def __str__(self) -> str:
        words = " ".join(self.command)
        return f"process {self.pid} ({words if len(words) <= 80 else words[:79] + '…'})"  # noqa: PLR2004


def listening_inodes(table: str, port: int) -> set[str]:
    """Return the sockets that listen on the port, from the text of a /proc/net/tcp. Pure."""
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:  # noqa: PLR2004  the inode is the tenth
            with contextlib.suppress(ValueError):
                if int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found


def holder_of_port(port: int) -> PortHolder | None:
    """Return the process that listens there; None when that is unknown."""
    links = set()
    for path in _TABLES:
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            links |= {f"socket:[{inode}]" for inode in listening_inodes(file.read(), port)}
    if not links:
        return None
    for name in os.listdir("/proc"):
        if name.isdecimal() and _has_open(name, links):
            return PortHolder(int(name), _command(name))
    return None


def _has_open(pid: str, links: set[str]) -> bool:
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):  # another user's, or gone meanwhile
        for fd in os.listdir(folder):
            with contextlib.suppress(OSError):
                if os.readlink(f"{folder}/{fd}") in links:
                    return True
    return False


def _command(pid: str) -> tuple[str, ...]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read(_COMMAND_BYTES_MAX).split(b"\0")
        return tuple(word.decode("utf-8", "replace") for word in words if word)
    return ()


def is_left_behind(holder: PortHolder, directory: str) -> bool:
    """Return whether it is a proxy of this decision whose supervisor was killed.

    For a caller that holds the decision's lock. Such a proxy answers what is in flight before it
    ends.
    """
    words = holder.command
    if "proxy" not in words or "component" not in words:
        return False
    place = words[words.index("proxy") + 1 :][:1]
    with contextlib.suppress(OSError):
        where = os.path.join(os.readlink(f"/proc/{holder.pid}/cwd"), *place)
        return os.path.realpath(where) == os.path.realpath(directory)
    return False


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
