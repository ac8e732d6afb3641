"""What is done to the parts of the copy. Every fault that lasts is taken back, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rdv.config import Decision
from rdv.drill.plan import Target
from rdv.status.lines import MODELS_TOPIC, STATUS_TOPIC
from rdv.stream import open_stream
from rdv.stream.errors import StreamNotFound, TopicNotFound
from rdv.stream.file.layout import values_path
from rdv.stream.file.stream import FileStream

SLOW_STOPPED_S, SLOW_RUNNING_S = 0.04, 0.01
"""A process that gets a fifth of the time, in slices that a schedule notices."""
_FLIPPED_BYTES = 3

GARBAGE = (
    b"this is not JSON\n",
    b"\n",
    b"{}\n",
    b"\xff\xfe\n",
    b'{"v":99,"id":"x"}\n',
    b'{"v":1,"id":7,"model":null}\n',
    b'{"v":1,"id":"nobody","model":"nobody","version":"1","time_ns":1,"result":1}\n',
    b"[" * 10_000 + b"\n",
    b'{"model":7,"state":"up"}\n',
)


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


@dataclass
class Corruption:
    """What was spoilt: how many lines of garbage, and where bytes were flipped."""

    lines: int = 0
    flipped: list[tuple[str, str, int, str]] = field(default_factory=list)
    """(stream, topic, partition, path)."""


def corrupt(decision: Decision, target: Target, proxies: Iterable[str]) -> Corruption:
    """Garbage into what the part writes (and into what all of it is steered by), and flipped
    bytes in the oldest sealed segment of it. Results are not flipped: they are the drill's own
    witness.
    """
    doors = list(proxies)
    topics = {
        "worker": [("scores", target.model)] if target.scores else [],
        "server": [("results", door) for door in doors],
        "proxy": [("input", target.name)],
    }.get(target.role, [])
    done = Corruption()
    steering = [("control", MODELS_TOPIC), ("control", STATUS_TOPIC)]
    for name, topic in [*topics, *(steering if target.role == "server" else [])]:
        with contextlib.suppress(StreamNotFound, TopicNotFound):
            _corrupt_topic(decision.stream_path(name), name, topic, done)
    return done


def _corrupt_topic(path: str, name: str, topic: str, done: Corruption) -> None:
    with open_stream(path, create=False) as stream:
        assert isinstance(stream, FileStream)
        partitions = stream.partitions(topic)
        with stream.producer() as producer:
            for partition in range(partitions):
                producer.send_many(topic, GARBAGE, partition=partition)
                done.lines += len(GARBAGE)
        if name in ("input", "scores"):
            for partition in range(partitions):
                bases = stream.segments(topic, partition)
                place = values_path(f"{path}/{topic}/{partition}", bases[0]) if bases else ""
                if len(bases) > 1 and _flip(place):
                    done.flipped.append((path, topic, partition, place))
                    break


def _flip(path: str) -> bool:
    """Change some bytes in the middle of a file."""
    try:
        with open(path, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(size // 2)
            old = file.read(_FLIPPED_BYTES)
            file.seek(size // 2)
            file.write(bytes(byte ^ 0x55 for byte in old))
    except OSError:  # retention was quicker
        return False
    return bool(old)
