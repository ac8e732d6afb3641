"""Open a stream from an address on the command line, and find the partitions that it names."""

from __future__ import annotations

import os.path
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdv.commands.errors import GroupHasMembers, GroupNotFound, InvalidOption

if TYPE_CHECKING:
    from rdv.stream import TopicPartition
    from rdv.stream.files import FileStream


@dataclass(frozen=True)
class Target:
    """The parts of `PATH[:TOPIC]`."""

    path: str
    topic: str | None

    def require_topic(self, why: str) -> str:
        """Return the topic. Raises InvalidOption if the address names none."""
        if self.topic is None:
            raise InvalidOption(self.path, why, f"Write {self.path}:TOPIC.")
        return self.topic

    def __str__(self) -> str:
        return self.path if self.topic is None else f"{self.path}:{self.topic}"


def read_target(text: str) -> Target:
    """Read `PATH[:TOPIC]`. Raises InvalidAddress, InvalidName."""
    from rdv.stream import parse_address
    from rdv.stream.errors import InvalidAddress

    address = parse_address(text, with_topic=True)
    if address.scheme == "memory":
        reason = "a memory stream lives inside one process, a command cannot reach it"
        raise InvalidAddress(text, reason)
    if address.scheme == "kafka":
        raise InvalidAddress(text, "the kafka backend is not there yet")
    return Target(address.place, address.topic)


def open_files(target: Target, *, create: bool = False, look: bool = False) -> FileStream:
    """Open an existing file stream; with `look`, nothing in it can be changed.

    Raises StreamNotFound and what `open_stream` raises.
    """
    from rdv.commands.errors import DecisionNotStream, StreamsElsewhere, TooManyColons
    from rdv.stream import open_stream
    from rdv.stream.errors import StreamNotFound
    from rdv.stream.files import files_of

    try:
        return files_of(open_stream(target.path, create=create, look=look))
    except StreamNotFound as error:
        if ":" in target.path:
            raise TooManyColons(target.path, target.topic) from None
        if is_decision(target.path):
            raise DecisionNotStream(target.path, streams_in(target.path)) from None
        near = streams_near(target.path)
        if not near:
            raise
        raise StreamsElsewhere(error.path, error.reason, near) from None


def is_decision(path: str) -> bool:
    """Return whether this is the directory of a decision."""
    from rdv.decision import FILE_NAME

    return os.path.isfile(os.path.join(path, FILE_NAME))


def streams_near(path: str) -> tuple[str, ...]:
    """Return the streams in this directory (or decision), else those next to the missing path."""
    return streams_in(path) or streams_in(os.path.dirname(path))


def streams_in(parent: str) -> tuple[str, ...]:
    """Return the streams of a directory, at most ten."""
    from rdv.stream.files import is_stream

    if not os.path.isdir(parent):
        return ()
    places = (os.path.join(parent, name) for name in sorted(os.listdir(parent)))
    return tuple([place for place in places if is_stream(place)][:10])


def topics_of(stream: FileStream, target: Target) -> list[str]:
    """Return the topic that was named, or all topics. Raises TopicNotFound."""
    if target.topic is None:
        return stream.topics()
    stream.partitions(target.topic)
    return [target.topic]


def places_of(
    stream: FileStream, target: Target, partition: int | None = None
) -> list[TopicPartition]:
    """Return the partitions that the address names. Raises TopicNotFound, PartitionNotFound."""
    from rdv.stream import TopicPartition
    from rdv.stream.errors import PartitionNotFound

    counts = {topic: stream.partitions(topic) for topic in topics_of(stream, target)}
    if partition is not None and counts and not 0 <= partition < max(counts.values()):
        widest = max(counts, key=lambda topic: counts[topic])
        raise PartitionNotFound(widest, partition, counts[widest])
    return [
        TopicPartition(topic, number)
        for topic, count in counts.items()
        for number in range(count)
        if partition is None or number == partition
    ]


def groups_of(stream: FileStream, group: str | None) -> list[str]:
    """Return the group that was named, or all groups. Raises GroupNotFound, InvalidName."""
    from rdv.stream import check_name

    groups = stream.groups()
    if group is None:
        return groups
    if check_name(group, "group") not in groups:
        raise GroupNotFound(stream.address, group)
    return [group]


def refuse_if_alive(stream: FileStream, group: str) -> None:
    """Raise GroupHasMembers if the group has members that are alive."""
    alive = stream.group_state(group).members.keys() - stream.absent_members(group)
    if alive:
        raise GroupHasMembers(group, len(alive))
