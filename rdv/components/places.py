"""Where the components meet: the streams of a decision and the topics in them.

Every (topic, partition) has one writing process: a proxy has a topic of its own in `input` and in
`outcomes` and two in `results`, a model has one in `scores`, and a server writes the partitions
that it serves. So a process that is stopped while it holds a partition's lock can hold up nobody
else. (`rdv outcome` has a topic too, for any number of short-lived processes: they hold up each
other at most.)
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
"""In `control`: models that have come up or gone down, so that nobody waits for a dead one."""

MEMORY = "memory:"
MAKING_MS = 10_000

CLI_TOPIC = "cli"
"""In `outcomes`: those that `rdv outcome` has told. A proxy's are in a topic of its own."""

STATUS_TOPIC = "status"
"""In `control`: what every process says of itself, about once a second."""


def backstop_topic(proxy: str) -> str:
    """In `results`: what the proxy answered itself, because no result had come by the SLA.

    For an id that is in both of a proxy's topics this one is what the client was told: the
    server's result came too late then. So every answered request has one story.
    """
    return f"{proxy}.proxy"


@dataclass(frozen=True)
class Streams:
    """The open streams of one decision."""

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
    """Open the streams below `root`, a decision's directory or `memory:NAME`; make what is missing.

    `input`, `scores` and `results` have `config.partitions` partitions. Their consumers wait
    for no lock (`open_stream`). Raises SystemFaults.
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
    # The processes of a new decision start at once: one of them makes the streams.
    disk = Disk()
    disk.file_mode = config.file_mode
    disk.mkdir(f"{root}/{RUN_DIRECTORY}")
    with locked(disk, f"{root}/{RUN_DIRECTORY}/making-streams", MAKING_MS):
        return all_opened()


def open_outcomes(root: str, config: StreamConfig, clock: Clock = SYSTEM_CLOCK) -> LogStream:
    """The stream `outcomes` alone, of one partition; made if it is missing. Raises SystemFaults."""
    return open_stream(f"{root}/{OUTCOMES}", config=_undivided(config), clock=clock)


def _undivided(config: StreamConfig) -> StreamConfig:
    """The same with one partition, for streams that nobody shares."""
    return StreamConfig(
        fsync=config.fsync,
        retention_ms=config.retention_ms,
        segment_bytes=config.segment_bytes,
        mode=config.mode,
    )
