"""Open the streams of a decision, and bring them in line with its rdv.toml.

`rdv serve` calls `prepare_streams` once, before it starts a process and while it holds the
decision's lock, so that every process then finds the same partitions and the same settings.
rdv.toml owns `partitions` and the keys of [log]; other keys of a stream.toml are kept (except
record_bytes_max, which follows http.body_bytes_max and the models' result_bytes_max).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Self

from rdv.clock import SYSTEM_CLOCK, Clock
from rdv.decision import RUN_DIRECTORY, Decision, InvalidDecision
from rdv.rendezvous.topology import CONTROL, DIVIDED, INPUT, OUTCOMES, RESULTS, SCORES, STREAMS
from rdv.stream import Stream, StreamConfig, open_stream
from rdv.stream.errors import StreamNotFound
from rdv.stream.files import is_stream, read_config, write_config
from rdv.system.disk import Disk
from rdv.system.file_lock import locked

MEMORY = "memory:"
MAKING_MS = 10_000


@dataclass(frozen=True)
class Streams:
    """Holds the open streams of one decision."""

    input: Stream
    scores: Stream
    results: Stream
    control: Stream
    outcomes: Stream

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
    one = replace(config, partitions=1)

    def opened(name: str, settings: StreamConfig) -> Stream:
        return open_stream(f"{root}/{name}", may_wait=False, config=settings, clock=clock)

    def all_opened() -> Streams:
        return Streams(
            opened(INPUT, config),
            opened(SCORES, config),
            opened(RESULTS, config),
            opened(CONTROL, one),
            opened(OUTCOMES, one),
        )

    if root.startswith(MEMORY) or all(is_stream(f"{root}/{n}") for n in STREAMS):
        return all_opened()
    # The processes of a new decision start at the same time: one of them makes the streams.
    disk = Disk()
    disk.mkdir(f"{root}/{RUN_DIRECTORY}", inside=root)
    with locked(disk, f"{root}/{RUN_DIRECTORY}/making-streams", MAKING_MS):
        return all_opened()


def open_outcomes(root: str, config: StreamConfig, clock: Clock = SYSTEM_CLOCK) -> Stream:
    """Open the stream `outcomes` of one partition; make it if missing. Raises SystemFaults."""
    return open_stream(f"{root}/{OUTCOMES}", config=replace(config, partitions=1), clock=clock)


OWNER = (
    "# Derived from the decision's rdv.toml (partitions, [log]) by each rdv serve: edit that file."
)


def prepare_streams(decision: Decision, report: Callable[[str], None]) -> None:
    """Make the missing streams and bring the others in line with rdv.toml.

    `report` gets a line for each change. Raises InvalidDecision when `partitions` is smaller than a
    topic has already (nothing has been changed then), and SystemFaults.
    """
    known: dict[str, StreamConfig | None] = {}
    for name in STREAMS:
        try:
            known[name] = read_config(decision.stream_path(name))
        except StreamNotFound:
            known[name] = None
    counts = {name: _partitions(decision, name) for name in DIVIDED if known[name] is not None}
    _refuse_to_shrink(decision, counts)
    for name in STREAMS:
        _follow(decision, name, known[name], report)
    for name, topics in counts.items():
        _grow(decision, name, topics, report)


def stream_config(decision: Decision, name: str, known: StreamConfig | None = None) -> StreamConfig:
    """Return the settings of one of the decision's streams; `known` are its present ones."""
    partitions = decision.partitions if name in DIVIDED else 1
    wanted = decision.log.stream_config(partitions)
    if known is not None:
        owned = {"partitions", *type(decision.log).__struct_fields__}
        values = {key: value for key, value in asdict(wanted).items() if key in owned}
        wanted = replace(known, **values)
    # A request that the HTTP server accepts must fit into a record, and so must a model's result,
    # with what is added to them.
    results = (model.result_bytes_max for model in decision.models.values())
    room = max(decision.http.body_bytes_max, *results, 0) + 1024 * 1024
    return replace(wanted, record_bytes_max=max(wanted.record_bytes_max, room))


def _partitions(decision: Decision, name: str) -> dict[str, int]:
    with open_stream(decision.stream_path(name), create=False) as stream:
        return {topic: stream.partitions(topic) for topic in stream.topics()}


def _refuse_to_shrink(decision: Decision, counts: dict[str, dict[str, int]]) -> None:
    for name, topics in counts.items():
        for topic, count in topics.items():
            if count > decision.partitions:
                places = ", ".join(decision.stream_path(stream) for stream in DIVIDED)
                raise InvalidDecision(
                    decision.file,
                    "partitions",
                    f"is {decision.partitions}, but {name}:{topic} has {count} partitions already, "
                    f"and partitions cannot be taken away without losing records; set partitions "
                    f"to {max(max(t.values(), default=1) for t in counts.values())} or more, or "
                    f"begin new streams: move {places} away",
                )


def _follow(
    decision: Decision,
    name: str,
    known: StreamConfig | None,
    report: Callable[[str], None],
) -> None:
    path = decision.stream_path(name)
    wanted = stream_config(decision, name, known)
    if known is None:
        open_stream(path, config=wanted).close()
    write_config(path, wanted, OWNER)
    if known is None:
        return
    before, after = asdict(known), asdict(wanted)
    for key in after:
        if before[key] != after[key]:
            report(f"{path}: {key} is {_shown(after[key])} now; it was {_shown(before[key])}")


def _shown(value: object) -> object:
    return "unlimited" if value is None else value


def _grow(
    decision: Decision, name: str, topics: dict[str, int], report: Callable[[str], None]
) -> None:
    small = {topic: n for topic, n in topics.items() if n < decision.partitions}
    if not small:
        return
    with open_stream(decision.stream_path(name), create=False) as stream:
        for topic, count in small.items():
            stream.make_topic(topic, decision.partitions)
            report(f"{name}:{topic} has {decision.partitions} partitions now; it had {count}")
