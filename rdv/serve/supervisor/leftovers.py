"""Finds and ends processes of an earlier run of a decision whose supervisor was killed.

Every process of a run, and all that a model starts in it, has RDV_RUN in its environment: the
decision, and the supervisor's number and start. (A program that is started with an empty
environment does not: it ends with its worker, but not when the worker is killed as well.)
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable

from rdv.system.processes import await_end, command_line_of, environment_of, processes, start_of

VARIABLE = "RDV_RUN"

GRACE_S = 5.0
"""Workers and proxies of a supervisor that was killed end by themselves within this time, once they
have answered their requests.
"""

ROUNDS_MAX = 10


def run_marker(directory: str) -> str:
    """Return the value of RDV_RUN for the processes that this process starts."""
    return f"{_place(directory)}.{os.getpid()}.{start_of(os.getpid())}"


def left_behind(directory: str) -> list[int]:
    """Return the processes of the decision whose supervisor has ended."""
    prefix = f"{VARIABLE}={_place(directory)}.".encode()
    found = []
    for pid in processes():
        if pid == os.getpid():
            continue
        for entry in environment_of(pid):
            if entry.startswith(prefix) and not _lives(entry.removeprefix(prefix)):
                found.append(pid)
                break
    return found


def _lives(supervisor: bytes) -> bool:
    pid, _, start = supervisor.partition(b".")
    return pid.isdigit() and start.isdigit() and start_of(int(pid)) == int(start)


def clear(directory: str, report: Callable[[str], None], grace_s: float = GRACE_S) -> None:
    """End the leftovers; processes of rdv have `grace_s` to end by themselves. Blocks."""
    waited_s, count = grace_s, 0
    for _ in range(ROUNDS_MAX):
        if not (pids := left_behind(directory)):
            break
        for pid in pids:
            if b" component " in command_line_of(pid) and waited_s > 0:
                began_s = time.monotonic()
                await_end(pid, waited_s)
                waited_s -= time.monotonic() - began_s
        for pid in left_behind(directory):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                count += 1
    if count:
        noun = "process" if count == 1 else "processes"
        report(f"ended {count} {noun} that an earlier run had left behind")


def clear_in_background(directory: str, report: Callable[[str], None]) -> None:
    """Run `clear` in a thread beside the running loop; `report` is called on the loop."""
    loop = asyncio.get_running_loop()

    def on_loop(line: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(report, line)

    threading.Thread(target=clear, args=(directory, on_loop), name="rdv-clear", daemon=True).start()


def _place(directory: str) -> str:
    real = os.fsencode(os.path.realpath(directory))
    return hashlib.sha256(real).hexdigest()[:16]
