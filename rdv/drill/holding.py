"""The drill holds locks that a part of the copy needs, as another process would."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import glob
import os
from collections.abc import AsyncIterator, Iterable

from rdv.config import Decision
from rdv.drill.plan import Target


@contextlib.asynccontextmanager
async def locks_held(
    decision: Decision, target: Target, proxies: Iterable[str]
) -> AsyncIterator[int]:
    """Hold the locks of the partitions that the part writes, and of its group, for a block.

    Yields the number of locks. The kernel releases them when this process ends, however it ends.
    """
    fds = [os.open(path, os.O_RDWR) for path in _lock_files(decision, target, proxies)]
    try:
        # In a thread: taking a lock blocks while its owner holds it, some microseconds at a time.
        await asyncio.to_thread(_take, fds)
        yield len(fds)
    finally:
        for fd in fds:
            os.close(fd)


def _take(fds: Iterable[int]) -> None:
    for fd in fds:
        fcntl.flock(fd, fcntl.LOCK_EX)


def _lock_files(decision: Decision, target: Target, proxies: Iterable[str]) -> list[str]:
    if target.role == "proxy":
        name = target.name
        places = [("input", name), ("results", f"{name}.proxy"), ("outcomes", name)]
    elif target.role == "server":
        places = [("results", proxy) for proxy in proxies]
        places += [("control", "schedule"), ("control", "status")]
    else:
        places = [("scores", target.model), ("input/.groups", target.model)]
    found: list[str] = []
    for stream, topic in places:
        directory = glob.escape(decision.path(stream, topic))
        found += glob.glob(f"{directory}/*/lock") + glob.glob(f"{directory}/lock")
    return sorted(found)
