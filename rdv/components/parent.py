"""Ends a component with its parent: it must not outlive the supervisor that started it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

from rdv.standard_streams import empty_stdin

PARENT_PIPE = "RDV_PARENT_PIPE"
_pipe = -1
_PR_SET_PDEATHSIG = 1
"""An option of prctl(2)."""


def keep_parent_pipe() -> int:
    """Move the supervisor's pipe from stdin to another descriptor and return it; -1 without a pipe.

    To be called before user code is loaded: that gets an empty stdin, and processes that it starts
    do not inherit the pipe. May be called again.
    """
    global _pipe  # noqa: PLW0603  a process has one parent
    if os.environ.pop(PARENT_PIPE, ""):
        _pipe = os.dup(0)
        empty_stdin()
    return _pipe


def stop_without_parent(stop: Callable[[], None]) -> None:
    """Call `stop`, from a thread, when the supervisor is gone: then its pipe ends.

    Does nothing when a person has started the process. On Linux a process that is stopped (SIGSTOP)
    at that moment is continued, so that it can react; elsewhere it stays stopped.
    """
    pipe = keep_parent_pipe()
    if pipe < 0:
        return
    _continue_when_parent_ends()

    def watch() -> None:
        while os.read(pipe, 4096):
            pass
        stop()

    threading.Thread(target=watch, name="rdv-parent", daemon=True).start()


def _continue_when_parent_ends() -> None:
    """Have Linux send SIGCONT, not SIGKILL: a proxy must still answer what is in flight."""
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGCONT), 0, 0, 0)
