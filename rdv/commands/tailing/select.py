"""Select the records that `rdv tail` shows, and their order."""

from __future__ import annotations

import contextlib
import heapq
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from rdv.commands.exits import PipeClosedError
from rdv.commands.opening import Target, places_of
from rdv.commands.options import span_ns
from rdv.commands.tail import Renderer, is_reader_gone
from rdv.stream.consumer import LogConsumer
from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost
from rdv.stream.file.stream import FileStream
from rdv.stream.record import Record, TopicPartition

DEFAULT_COUNT = 10
_CHUNK_RECORDS = 500
_BATCH_RECORDS = 100
_OPEN_READERS_MAX = 64
_LOOK_UP_S = 1.0
"""How often a follower without new records checks whether its output is still read, in seconds."""


@dataclass(frozen=True)
class Window:
    """The options that select records; a `count` of None means the default."""

    count: int | None = None
    since: str | None = None
    until: str | None = None
    offset: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the options say where to begin, so that all records from there on are shown."""
        return self.since is not None or self.offset is not None

    @property
    def last(self) -> int | None:
        """How many of the last records to show; None: no such limit."""
        if self.offset is not None:
            return None
        return self.count if self.is_open or self.count is not None else DEFAULT_COUNT

    @property
    def first(self) -> int | None:
        """How many of the first records to show; None: no such limit."""
        return self.count if self.offset is not None else None


Ranges = Mapping[TopicPartition, tuple[int, int, int]]
"""For each partition: the first offset to show, the one to stop before, and the current end."""


def window_of(
    stream: FileStream, target: Target, partition: int | None, window: Window
) -> dict[TopicPartition, tuple[int, int, int]]:
    """Return the offsets that the options select.

    Raises TopicNotFound, PartitionNotFound, InvalidQuantity, and OffsetOutOfRange if no partition
    has the offset.
    """
    since_ns, until_ns = span_ns(window.since, window.until)
    ranges = {}
    misses: list[OffsetOutOfRange] = []
    for place in places_of(stream, target, partition):
        begin, end = stream.begin(*place), stream.end(*place)
        stop = end if until_ns is None else min(end, stream.offset_at(*place, until_ns))
        start = begin
        if since_ns is not None:
            start = stream.offset_at(*place, since_ns)
        elif window.offset is not None:
            start = window.offset
            if not begin <= start <= end:
                misses.append(OffsetOutOfRange(*place, start, begin, end))
                start = max(begin, min(start, end))
        if window.last is not None:
            start = max(start, stop - window.last)
        ranges[place] = (start, stop, end)
    if misses and len(misses) == len(ranges):
        raise misses[0]
    return ranges


def read_window(stream: FileStream, ranges: Ranges, window: Window) -> Iterator[list[Record]]:
    """Yield the records of the ranges by append time, in small batches.

    Raises RecordsDamaged, but only after all readable records have been yielded: those of undamaged
    partitions, and those before the damage in the others.
    """
    damage = [found for place in ranges if (found := stream.missing(*place)) is not None]
    keep_open = len(ranges) <= _OPEN_READERS_MAX
    merged: Iterable[Record] = heapq.merge(
        *(
            _up_to_damage(_read_range(stream, place, start, stop, keep_open=keep_open), damage)
            for place, (start, stop, _) in ranges.items()
            if start < stop
        ),
        key=lambda record: record.timestamp_ns,
    )
    if window.last is not None:
        merged = deque(merged, maxlen=min(window.last, sys.maxsize)) if window.last else ()
    records = iter(
        merged if window.first is None else islice(merged, min(window.first, sys.maxsize))
    )
    while batch := list(islice(records, _BATCH_RECORDS)):
        yield batch
    if damage:
        for other in damage[1:]:
            _tell(other.text())
        raise damage[0]


def _up_to_damage(records: Iterator[Record], damage: list[RecordsDamaged]) -> Iterator[Record]:
    """Yield the records up to the damage, which is added to `damage`: an error would end
    `heapq.merge` for all partitions.
    """
    try:
        yield from records
    except RecordsDamaged as error:
        damage.append(error)


def _tell(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")


def _read_range(
    stream: FileStream, place: TopicPartition, start: int, stop: int, *, keep_open: bool
) -> Iterator[Record]:
    """Yield the records from `start` up to `stop`.

    With too many partitions to keep all of them open, a reader is opened anew for each chunk.
    """
    position = start
    while position < stop:
        with stream.consumer([place.topic], partitions=[place.partition], start=position) as reader:
            while position < stop:
                batch = poll_or_tell(reader, min(_CHUNK_RECORDS, stop - position))
                for record in batch:
                    if record.offset >= stop:
                        return
                    yield record
                after = reader.positions()[place]
                if after <= position:
                    return
                position = after
                if not keep_open:
                    break


def poll_or_tell(reader: LogConsumer, max_records: int, timeout: float = 0.0) -> list[Record]:
    """Poll; report on stderr what retention has deleted before it was read."""
    try:
        return reader.poll(max_records, timeout)
    except RecordsLost as error:
        _tell(error.text())
        return []


def follow_on(
    stream: FileStream,
    target: Target,
    partition: int | None,
    ranges: Ranges,
    renderer: Renderer,
) -> None:
    """Show what comes after the ranges, until interrupted. Raises RecordsDamaged."""
    topics = None if target.topic is None else [target.topic]
    only = None if partition is None else [partition]
    with stream.consumer(topics, partitions=only) as consumer:
        for place, (_, _, end) in ranges.items():
            # If the topic was deleted meanwhile, or the log truncated: from its begin.
            with contextlib.suppress(OffsetOutOfRange):
                consumer.seek(*place, end)
        while True:
            records = poll_or_tell(consumer, _CHUNK_RECORDS, _LOOK_UP_S)
            if records:
                records.sort(key=lambda record: record.timestamp_ns)
                renderer.show([records])
            elif is_reader_gone(sys.stdout):
                raise PipeClosedError
