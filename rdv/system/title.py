"""Sets the command line that `ps` shows for a process, in the process's own memory."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

ROOM = "-" * 4096
"""The last argument of a process: room for the longer titles of the processes forked from it."""

_ARG_START, _ARG_END = 45, 46
"""Indexes in /proc/self/stat, counted behind the name (proc(5), fields 48 and 49)."""


def set_title(words: Sequence[str]) -> None:
    """Show `words` as this process's command line, as far as there is room; Linux only.

    The arguments that a process was started with lie in its own memory, where the kernel reads them
    on each request. A forked process would show those of the process that it was forked from.
    """
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
        text = b"".join(os.fsencode(word) + b"\0" for word in words)[: end - start - 1]
        if start:
            ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)
