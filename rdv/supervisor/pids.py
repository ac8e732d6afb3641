"""Checks whether a process is alive."""

from __future__ import annotations

import contextlib
import os


def is_process(pid: int) -> bool:
    """Return whether there is such a process (a zombie does not count)."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[:1] != [b"Z"]
    return True
