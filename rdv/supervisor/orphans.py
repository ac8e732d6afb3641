"""Processes that others have left behind, and how none of them stays.

On Linux a process can ask to become the parent of its descendants whose own parents end (prctl(2),
PR_SET_CHILD_SUBREAPER). Every worker and every proxy does: so what a model starts is found below
its worker, also when it has made a session of its own or was forked twice, and ends with it. When
a worker is killed, what it had adopted becomes the supervisor's, which ends it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Collection

_PR_SET_CHILD_SUBREAPER = 36
_PARENT, _START = 1, 19
"""Of /proc/PID/stat, counted behind the name (proc(5), fields 4 and 22)."""

ROUNDS_MAX = 100
"""A process may start others while it is being ended: those are looked for so often."""

ZOMBIES_MAX, ZOMBIES_LOOK_S = 64, 30.0
"""A model may look after its own children much later; more than these are taken leave of, so that
one that forks twice for each request does not fill the table of processes."""


def adopt_orphans() -> bool:
    """From now on, whose parent ends becomes our child; False where that does not exist.

    Whoever asks for it has to call `reap_orphans` or `reap_abandoned`, or zombies pile up.
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


class Strangers:
    """Children of ours that we have not started: what dead workers have left. For one thread.

    Those that are there already are somebody else's business (`sh -c "helper & exec rdv serve"`).
    While there are any, or when we are process 1, who comes to us may be theirs: then only those
    are ended that carry `marker` in their environment.
    """

    def __init__(self, marker: str) -> None:
        self._before = frozenset(children_of(os.getpid()))
        self._marker = f"RDV_RUN={marker}".encode()

    def end(self, known: Collection[int]) -> None:
        """Kill those that are not `known`; their own children come to us when they end."""
        is_sure = not self._before and os.getpid() != 1
        for pid in children_of(os.getpid()):
            if pid in known or pid in self._before:
                continue
            if is_sure or self._marker in _read(pid, "environ").split(b"\0"):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)


def end_descendants() -> None:
    """Kill all that we, or what we started, have started, and take leave of it. On Linux, for who
    has called `adopt_orphans`: then all of it is below us, or comes there.
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
    """Take leave, from a thread of its own, of zombies that nobody has waited for in a long time.

    Only of those beyond ZOMBIES_MAX: to the model that has started it, a process that somebody
    else has taken leave of looks as if it had ended well.
    """

    def watch() -> None:
        before: set[int] = set()
        while not threading.Event().wait(ZOMBIES_LOOK_S):
            zombies = {pid for pid in children_of(os.getpid()) if _state(pid) == b"Z"}
            for pid in sorted(zombies & before)[ZOMBIES_MAX:]:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            before = zombies

    threading.Thread(target=watch, name="rdv-zombies", daemon=True).start()


def children_of(parent: int) -> list[int]:
    """The processes whose parent this is; none where there is no /proc."""
    found = []
    for pid in processes():
        fields = _stat(pid)
        if len(fields) > _START and int(fields[_PARENT]) == parent:
            found.append(pid)
    return found


def processes() -> list[int]:
    """All that /proc shows."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []


def start_of(pid: int) -> int:
    """When the process was started, in ticks since the boot; 0 when there is none. With its number
    that names a process for good.
    """
    fields = _stat(pid)
    return int(fields[_START]) if len(fields) > _START else 0


def environment_of(pid: int) -> list[bytes]:
    """What the process was started with; empty when it may not be read."""
    return _read(pid, "environ").split(b"\0")


def words_of(pid: int) -> list[bytes]:
    """The command line of the process."""
    return _read(pid, "cmdline").split(b"\0")


def _state(pid: int) -> bytes:
    return (_stat(pid) or [b""])[0]


def _stat(pid: int) -> list[bytes]:
    return _read(pid, "stat").rpartition(b")")[2].split()


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""
