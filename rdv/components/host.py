"""Identifies the monotonic clock that a request was timed with."""

from __future__ import annotations

import socket

from rdv.stream.file.disk import Disk


def host_name() -> str:
    """Return the machine and its boot: processes with the same name share one monotonic clock."""
    return f"{socket.gethostname()}/{Disk().boot_id().hex()[:8]}"
