"""Inject faults into the processes of the copy. Each fault is undone, whatever happens.

A greedy client connects from an address of its own, so that the proxies can distinguish it from
the drill's other clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import glob
import os
import re
import resource
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Iterable, Iterator

import orjson

from rdv.decision import Decision
from rdv.decision.schedules import read_schedule_text
from rdv.load.drill.copying import CONNECTIONS_MAX, HOST
from rdv.load.drill.plan import Target
from rdv.load.generator import render_request
from rdv.rendezvous.schedule import schedule_from_toml

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


_FOLDERS = ("models", "schedules")
_SLA = re.compile(r"(?m)^(\s*sla_ms\s*=\s*)(\d+(?:\.\d+)?)")


def replace_directories(decision: Decision) -> str:
    """Replace the directories by copies, then edit the live schedule in the new one.

    Returns the label of the edited schedule, or an empty string if its SLA is written in a way that
    cannot be edited here. Raises OSError.
    """
    for name in _FOLDERS:
        folder = decision.path(name)
        if os.path.isdir(folder):
            fresh, old = f"{folder}.fresh", f"{folder}.old"
            shutil.copytree(folder, fresh, symlinks=True)
            os.rename(folder, old)
            os.rename(fresh, folder)
            shutil.rmtree(old)
    return _edit(decision.schedule_path(), decision.schedule)


def _edit(path: str, name: str) -> str:
    """Make the SLA of the schedule one millisecond longer; return the new label, or ""."""
    text = read_schedule_text(path)
    edited, count = _SLA.subn(lambda found: f"{found[1]}{float(found[2]) + 1:g}", text, count=1)
    if not count:
        return ""
    fresh = f"{path}.fresh"
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(edited)
    os.replace(fresh, path)
    return schedule_from_toml(edited, name, path).label


ADDRESS = "127.6.6.6"
"""The greedy client's address. Linux assigns all of 127.0.0.0/8 to the loopback device; on other
systems the address must be configured first.
"""
PIPELINES, PIPELINED = 40, 60
_FILES_MAX = 8_192


def can_be_greedy() -> bool:
    """Return whether a client can have an address of its own on this machine."""
    with socket.socket() as probe:
        try:
            probe.bind((ADDRESS, 0))
        except OSError:
            return False
    return True


@contextlib.asynccontextmanager
async def greedy_client(ports: Iterable[int], sla_ms: float) -> AsyncIterator[str]:
    """Keep a greedy client at each proxy for the block, then abort all its connections; yields a
    note.

    `sla_ms` is the time that its requests wait for a model that does not exist.
    """
    _allow_files()
    inline = {"sla_ms": sla_ms, "default": None, "step": [{"accept": ["no-such-model"]}]}
    body = orjson.dumps({"data": {}, "schedule": inline})
    transports: list[asyncio.Transport] = []
    try:
        asked = 0
        for port in ports:
            pipeline = render_request("POST", "/v1/decide", f"{HOST}:{port}", body) * PIPELINED
            for number in range(CONNECTIONS_MAX):
                transport = await _connect(port)
                if transport is None:
                    continue
                transports.append(transport)
                if number < PIPELINES:
                    transport.write(pipeline)
                    asked += PIPELINED
        yield f"{len(transports):,} connections, {asked:,} requests of {sla_ms:g} ms by one client"
    finally:
        for transport in transports:
            transport.abort()


async def _connect(port: int) -> asyncio.Transport | None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(1):
            transport, _ = await loop.create_connection(
                asyncio.Protocol, HOST, port, local_addr=(ADDRESS, 0)
            )
    except (OSError, TimeoutError):
        return None
    return transport


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _FILES_MAX)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
