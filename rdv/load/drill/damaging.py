"""Damage the copy's streams: garbage, wrong times, flipped bytes, misplaced and missing files.

Results are the drill's own evidence: they get garbage and wrong times, but their files stay intact.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from rdv.clock import SYSTEM_CLOCK, Clock
from rdv.decision import Decision
from rdv.load.drill.plan import Target
from rdv.rendezvous.topology import MODELS_TOPIC, STATUS_TOPIC
from rdv.stream import open_stream
from rdv.stream.errors import StreamNotFound, TopicNotFound
from rdv.stream.files import files_of, index_path, values_path

GARBAGE = (
    b"this is not JSON\n",
    b"\n",
    b"{}\n",
    b"\xff\xfe\n",
    b'{"v":99,"id":"x"}\n',
    b'{"v":1,"id":7,"model":null}\n',
    b'{"v":1,"id":"unknown","model":"unknown","version":"1","time_ns":1,"result":1}\n',
    b"[" * 10_000 + b"\n",
    b'{"model":7,"state":"up"}\n',
)
SECTOR_BYTES = 512
_FLIPPED_BYTES = 3
_HOUR_NS = 3_600 * 10**9
CLOCK_STEPS_NS = (365 * 24 * _HOUR_NS, -_HOUR_NS)


class DamagedFile(NamedTuple):
    """A file that the drill has damaged and that `verify` must report."""

    stream: str
    topic: str
    partition: int
    path: str

    def is_of(self, path: str) -> bool:
        """Return whether `path` is the damaged file, or the other file of the same segment."""
        return os.path.splitext(path)[0] == os.path.splitext(self.path)[0]


@dataclass
class Damage:
    """The damage that was done: the number of garbage lines added, and the files damaged."""

    lines: int = 0
    files: list[DamagedFile] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.lines} lines of garbage"] if self.lines else []
        parts += [os.path.join(*file.path.rsplit("/", 4)[1:]) for file in self.files]
        return ", ".join(parts)


def corrupt(decision: Decision, target: Target, proxies: Iterable[str]) -> Damage:
    """Append garbage to the topics that the part writes, and flip bytes in its oldest sealed
    segment.

    For a server, garbage also goes to the control topics, which steer all parts.
    """
    steering = [("control", MODELS_TOPIC), ("control", STATUS_TOPIC)]
    topics = _topics(target, proxies) + (steering if target.role == "server" else [])
    done = Damage(lines=_append(decision, topics, SYSTEM_CLOCK))
    done.files = _damaged(decision, target, _flip)
    return done


def step_clock(decision: Decision, target: Target, proxies: Iterable[str]) -> Damage:
    """Append to the topics that the part writes, with the times of a clock that has stepped."""
    topics = _topics(target, proxies)
    lines = sum(_append(decision, topics, _Stepped(step_ns)) for step_ns in CLOCK_STEPS_NS)
    return Damage(lines=lines)


def misplace_sector(decision: Decision, target: Target) -> Damage:
    """Write one sector of a sealed index over the next one, like a disk's misdirected write."""
    return Damage(files=_damaged(decision, target, _misplace))


def remove_values(decision: Decision, target: Target) -> Damage:
    """Delete the values of a sealed segment; its index stays."""
    return Damage(files=_damaged(decision, target, _remove))


class _Stepped:
    """The machine's clock, with a wall time that is off by `step_ns`."""

    def __init__(self, step_ns: int) -> None:
        self._step_ns = step_ns
        self.monotonic_ns = SYSTEM_CLOCK.monotonic_ns

    def wall_ns(self) -> int:
        return SYSTEM_CLOCK.wall_ns() + self._step_ns


def _topics(target: Target, proxies: Iterable[str]) -> list[tuple[str, str]]:
    """Return the streams and topics that a part writes."""
    if target.role == "worker":
        return [("scores", target.model)] if target.scores else []
    if target.role == "server":
        return [("results", proxy) for proxy in proxies]
    return [("input", target.name)]


def _append(decision: Decision, topics: Iterable[tuple[str, str]], clock: Clock) -> int:
    """Append garbage to every partition; return the number of lines."""
    lines = 0
    for name, topic in topics:
        path = decision.stream_path(name)
        with (
            contextlib.suppress(StreamNotFound, TopicNotFound),
            open_stream(path, create=False, clock=clock) as stream,
            stream.producer() as producer,
        ):
            for partition in range(stream.partitions(topic)):
                producer.send_many(topic, GARBAGE, partition=partition)
                lines += len(GARBAGE)
    return lines


def _damaged(
    decision: Decision, target: Target, damage: Callable[[str, int], str]
) -> list[DamagedFile]:
    """Damage one sealed segment, if there is one, of what the part has written."""
    for name, topic in _topics(target, ()):
        path = decision.stream_path(name)
        for partition, base in _sealed(path, topic):
            if file := damage(f"{path}/{topic}/{partition}", base):
                return [DamagedFile(path, topic, partition, file)]
    return []


def _sealed(path: str, topic: str) -> Iterator[tuple[int, int]]:
    """Yield the partition and base offset of each undamaged sealed segment."""
    with (
        contextlib.suppress(StreamNotFound, TopicNotFound),
        open_stream(path, create=False) as any_stream,
    ):
        stream = files_of(any_stream)
        for partition in range(stream.partitions(topic)):
            damaged = {
                os.path.splitext(one.path)[0]
                for one in stream.verify(topic, partition)
                if one.damage
            }
            for base in stream.segments(topic, partition)[:-1]:
                values = values_path(f"{path}/{topic}/{partition}", base)
                if os.path.splitext(values)[0] not in damaged:
                    yield partition, base


def _flip(directory: str, base: int) -> str:
    """Change some bytes in the middle of the values; return the file, or "" if that was not
    possible.
    """
    path = values_path(directory, base)
    try:
        with open(path, "r+b") as file:
            middle = file.seek(0, os.SEEK_END) // 2
            file.seek(middle)
            old = file.read(_FLIPPED_BYTES)
            file.seek(middle)
            file.write(bytes(byte ^ 0x55 for byte in old))
    except OSError:  # retention has deleted it
        return ""
    return path if old else ""


def _misplace(directory: str, base: int) -> str:
    path = index_path(directory, base)
    try:
        with open(path, "r+b") as file:
            sectors = file.seek(0, os.SEEK_END) // SECTOR_BYTES
            if sectors < 2:  # noqa: PLR2004  it takes two sectors
                return ""
            at = (sectors - 2) // 2 * SECTOR_BYTES
            file.seek(at)
            first = file.read(SECTOR_BYTES)
            file.write(first)
    except OSError:
        return ""
    return path


def _remove(directory: str, base: int) -> str:
    path = values_path(directory, base)
    try:
        os.unlink(path)
    except OSError:
        return ""
    return path
