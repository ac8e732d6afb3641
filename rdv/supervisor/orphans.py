"""Being the parent of what our children leave behind (prctl(2), PR_SET_CHILD_SUBREAPER)."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> bool:
    """From now on, whose parent ends becomes our child; False where that does not exist.

    Whoever asks for it has to call `reap_orphans`, or zombies pile up.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    refused: int = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return not refused


def reap_orphans(known: Collection[int]) -> None:
    """Take leave of those of our children that have ended and are not among the `known`."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        # Behind one that is known there may be others: they are seen once it has been reaped.
        if found is None or found.si_pid in known:
            return
        os.waitpid(found.si_pid, 0)
