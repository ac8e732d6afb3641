"""The module applies faults to the processes of the copy. Each fault is undone, whatever
happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Iterable, Iterator

SLOW_STOPPED_S, SLOW_RUNNING_S = 0.04, 0.01
"""How long a slowed process is stopped and then runs, in seconds: it gets a fifth of the time, in
slices long enough for a schedule to notice.
"""


def can_fill_disks() -> bool:
    """Return whether this system can limit the file size of another process."""
    return hasattr(resource, "prlimit")


def send_signal(pid: int, signum: signal.Signals) -> None:
    """Send a signal to one process. Does nothing for a process that has ended and for the pid 0."""
    if pid <= 0:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Send SIGSTOP, and SIGCONT at the end of the block."""
    send_signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        send_signal(pid, signal.SIGCONT)


async def slow_down(pid: int, seconds: float) -> None:
    """Stop and continue a process in short turns, for `seconds`."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + seconds
    while loop.time() < end_s:
        with stopped(pid):
            await asyncio.sleep(SLOW_STOPPED_S)
        await asyncio.sleep(SLOW_RUNNING_S)


@contextlib.contextmanager
def without_room(pids: Iterable[int]) -> Iterator[None]:
    """Prevent the processes from writing to files for a block, by a file size limit of 0.

    Writes then fail with EFBIG, which the log treats like a full disk. Linux only.
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
