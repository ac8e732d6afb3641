"""What `ps` shows for a process: its command line, in its own memory."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

ROOM = "-" * 4096
"""Given to a process as its last argument: room for the longer titles of those forked off it."""

_ARG_START, _ARG_END = 45, 46
"""Of /proc/self/stat, counted behind the name (proc(5), fields 48 and 49)."""


def set_title(words: Sequence[str]) -> None:
    """Show `words` as our command line, as far as there is room; does nothing but on Linux.

    The arguments that a process was started with lie in its own memory, where the kernel looks
    whenever somebody asks. A forked process would show those of the one that it was forked off.
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
