"""End processes whose parents have ended.

A component ends with the supervisor that has started it: its stdin is a pipe that ends then.

On Linux a process can ask to become the parent of its descendants whose own parents end (prctl(2),
PR_SET_CHILD_SUBREAPER). Every worker and every proxy does: so what a model starts is found below
its worker, even if it made its own session or was forked twice, and ends with it. When a worker is
killed, the supervisor becomes the parent of what it had adopted, and ends it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection

from rdv.system.processes import children_of, environment_of, state_of
from rdv.system.standard_streams import empty_stdin

PARENT_PIPE = "RDV_PARENT_PIPE"
"""In a component's environment: its stdin is a pipe whose end shows that the parent is gone."""
_pipe = -1
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
"""Options of prctl(2)."""
ROUNDS_MAX = 100
"""The maximum number of rounds: a process may start others while it is being ended."""

ZOMBIES_MAX, ZOMBIES_LOOK_S = 64, 30.0
"""A model may wait for its own children much later; zombies beyond this count are reaped, so that
one that forks twice for each request does not fill the process table.
"""


def adopt_orphans() -> bool:
    """Become the parent of orphaned descendants from now on; False where that is not supported.

    A process that calls this has to call `reap_orphans` or `reap_abandoned`, or zombies pile up.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    refused: int = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return not refused


def reap_orphans(known: Collection[int]) -> None:
    """Reap those children that have ended and are not among the `known`."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        # Behind a known one there may be others: they are seen once it has been reaped.
        if found is None or found.si_pid in known:
            return
        os.waitpid(found.si_pid, 0)


class ForeignChildren:
    """Finds children that this process did not start, which dead workers left. For one thread.

    Children from before its start belong to another program (`sh -c "helper & exec rdv serve"`). If
    there were any, or when this is process 1, adopted processes may be theirs: then only those are
    ended that have `marker` in their environment.
    """

    def __init__(self, marker: str) -> None:
        self._before = frozenset(children_of(os.getpid()))
        self._marker = f"RDV_RUN={marker}".encode()

    def end(self, known: Collection[int]) -> None:
        """Kill those that are not `known`; this process adopts their children when they end."""
        is_sure = not self._before and os.getpid() != 1
        for pid in children_of(os.getpid()):
            if pid in known or pid in self._before:
                continue
            if is_sure or self._marker in environment_of(pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)


def end_descendants() -> None:
    """Kill and reap all descendants.

    On Linux, for a process that has called `adopt_orphans`: then all of them are below it, or come
    there.
    """
    for _ in range(ROUNDS_MAX):
        if not (children := children_of(os.getpid())):
            return
        for pid in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def reap_abandoned() -> None:
    """Reap, in a thread of its own, zombies that no process has waited for in a long time.

    Only those beyond ZOMBIES_MAX: to the model that has started it, a process that another part of
    the program has reaped looks as if it had ended well.
    """

    def watch() -> None:
        before: set[int] = set()
        while not threading.Event().wait(ZOMBIES_LOOK_S):
            zombies = {pid for pid in children_of(os.getpid()) if state_of(pid) == b"Z"}
            for pid in sorted(zombies & before)[ZOMBIES_MAX:]:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            before = zombies

    threading.Thread(target=watch, name="rdv-zombies", daemon=True).start()


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
