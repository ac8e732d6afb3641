"""Names the streams of a decision and the topics by which the components communicate.

Every (topic, partition) has one writing process: a proxy has its own topic in `input` and in
`outcomes` and two in `results`, a model has one in `scores`, and a server writes the partitions
that it serves. So a process that is stopped while it holds a partition's lock delays no other
process. (`rdv outcome` has a topic too, for any number of short-lived processes, which can only
delay each other.)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self

from rdv.clock import SYSTEM_CLOCK, Clock
from rdv.config import RUN_DIRECTORY
from rdv.stream import StreamConfig, open_stream
from rdv.stream.file.disk import Disk
from rdv.stream.file.lock import locked
from rdv.stream.stream import LogStream

INPUT = "input"
SCORES = "scores"
RESULTS = "results"
CONTROL = "control"
OUTCOMES = "outcomes"
STREAMS = (INPUT, SCORES, RESULTS, CONTROL, OUTCOMES)

SCHEDULE_TOPIC = "schedule"
"""In `control`: every accepted version of a schedule, with the time it went live."""

COHORTS_TOPIC = "cohorts"
"""In `control`: every accepted version of [cohorts], and since when it has been in force."""

MODELS_TOPIC = "models"
"""In `control`: models that have come up or gone down, so that no server waits for a dead one."""

MEMORY = "memory:"
MAKING_MS = 10_000

CLI_TOPIC = "cli"
"""In `outcomes`: those that `rdv outcome` has recorded. A proxy's are in its own topic."""

STATUS_TOPIC = "status"
"""In `control`: the status of every process, about once a second."""


def backstop_topic(proxy: str) -> str:
    """Return the topic in `results` for the answers of the proxy itself, after the SLA.

    If an id is in both of a proxy's topics, this one is what the client received: the server's
    result came too late. So every answered request has exactly one valid result.
    """
    return f"{proxy}.proxy"


@dataclass(frozen=True)
class Streams:
    """Holds the open streams of one decision."""

    input: LogStream
    scores: LogStream
    results: LogStream
    control: LogStream
    outcomes: LogStream

    def close(self) -> None:
        for stream in (self.input, self.scores, self.results, self.control, self.outcomes):
            stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_streams(root: str, config: StreamConfig, clock: Clock = SYSTEM_CLOCK) -> Streams:
    """Open the streams below `root`, a decision's directory or `memory:NAME`; make missing ones.

    `input`, `scores` and `results` have `config.partitions` partitions. Their consumers wait for no
    lock (`open_stream`). Raises SystemFaults.
    """
    one = _undivided(config)

    def opened(name: str, settings: StreamConfig) -> LogStream:
        return open_stream(f"{root}/{name}", may_wait=False, config=settings, clock=clock)

    def all_opened() -> Streams:
        return Streams(
            opened(INPUT, config),
            opened(SCORES, config),
            opened(RESULTS, config),
            opened(CONTROL, one),
            opened(OUTCOMES, one),
        )

    if root.startswith(MEMORY) or all(os.path.exists(f"{root}/{n}/stream.toml") for n in STREAMS):
        return all_opened()
    # The processes of a new decision start at the same time: one of them makes the streams.
    disk = Disk()
    disk.mkdir(f"{root}/{RUN_DIRECTORY}", inside=root)
    with locked(disk, f"{root}/{RUN_DIRECTORY}/making-streams", MAKING_MS):
        return all_opened()


def open_outcomes(root: str, config: StreamConfig, clock: Clock = SYSTEM_CLOCK) -> LogStream:
    """Open the stream `outcomes` of one partition; make it if missing. Raises SystemFaults."""
    return open_stream(f"{root}/{OUTCOMES}", config=_undivided(config), clock=clock)


def _undivided(config: StreamConfig) -> StreamConfig:
    """Return the settings with one partition, for streams that are not shared."""
    return StreamConfig(
        fsync=config.fsync,
        retention_ms=config.retention_ms,
        segment_bytes=config.segment_bytes,
        mode=config.mode,
    )
