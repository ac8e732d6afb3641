"""What is done to the processes of the copy. Whatever happens, each fault is taken back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Iterable, Iterator

SLOW_STOPPED_S, SLOW_RUNNING_S = 0.04, 0.01
"""A process that gets a fifth of the time, in slices that a schedule notices."""


def can_fill_disks() -> bool:
    """Whether this system lets us take the room from another process."""
    return hasattr(resource, "prlimit")


def send_signal(pid: int, signum: signal.Signals) -> None:
    """To one process; one that has gone meanwhile is not there to be hurt, and 0 is nobody."""
    if pid <= 0:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """SIGSTOP, and SIGCONT at the end."""
    send_signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        send_signal(pid, signal.SIGCONT)


async def slow_down(pid: int, seconds: float) -> None:
    """Stop and continue a process in short turns, for so long."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + seconds
    while loop.time() < end_s:
        with stopped(pid):
            await asyncio.sleep(SLOW_STOPPED_S)
        await asyncio.sleep(SLOW_RUNNING_S)


@contextlib.contextmanager
def without_room(pids: Iterable[int]) -> Iterator[None]:
    """No process can write to a file: each gets a file size limit of 0 (EFBIG, which the log takes
    for a full disk, as it is one). Linux.
    """
    before: dict[int, tuple[int, int]] = {}
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
                before[pid] = (soft, hard)
        yield
    finally:
        for pid, limits in before.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
