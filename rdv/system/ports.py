"""Find the process that listens on a port."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

_COMMAND_CHARACTERS_MAX = 80


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
