"""Read a window of a stream in the order of append times, and follow what comes after it."""

from __future__ import annotations

import contextlib
import heapq
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost
from rdv.stream.files import FileStream
from rdv.stream.protocol import Consumer
from rdv.stream.record import Record, TopicPartition

DEFAULT_COUNT = 10
_CHUNK_RECORDS = 500
_BATCH_RECORDS = 100
_OPEN_READERS_MAX = 64
_IDLE_S = 1.0
"""How often a follower yields an empty list while there are no new records, in seconds."""


@dataclass(frozen=True)
class Window:
    """Selects records; a `count` of None means the default."""

    count: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    offset: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the options say where to begin, so that all records from there on are shown."""
        return self.since_ns is not None or self.offset is not None

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


Note = Callable[[str], None]

Ranges = Mapping[TopicPartition, tuple[int, int, int]]
"""For each partition: the first offset to show, the one to stop before, and the current end."""


def window_of(
    stream: FileStream, places: Iterable[TopicPartition], window: Window
) -> dict[TopicPartition, tuple[int, int, int]]:
    """Return the offsets that the window selects. Raises OffsetOutOfRange if no partition has the
    offset.
    """
    ranges = {}
    misses: list[OffsetOutOfRange] = []
    for place in places:
        begin, end = stream.begin(*place), stream.end(*place)
        stop = (
            end if window.until_ns is None else min(end, stream.offset_at(*place, window.until_ns))
        )
        start = begin
        if window.since_ns is not None:
            start = stream.offset_at(*place, window.since_ns)
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


def read_window(
    stream: FileStream, ranges: Ranges, window: Window, note: Note
) -> Iterator[list[Record]]:
    """Yield the records of the ranges by append time, in small batches.

    `note` is called with what is lost besides: records that retention has deleted before they were
    read, and all damage but the first.

    Raises RecordsDamaged, but only after all readable records have been yielded: those of undamaged
    partitions, and those before the damage in the others.
    """
    damage = [found for place in ranges if (found := stream.missing(*place)) is not None]
    keep_open = len(ranges) <= _OPEN_READERS_MAX
    merged: Iterable[Record] = heapq.merge(
        *(
            _up_to_damage(
                _read_range(stream, place, start, stop, note, keep_open=keep_open), damage
            )
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
            note(other.text())
        raise damage[0]


def _up_to_damage(records: Iterator[Record], damage: list[RecordsDamaged]) -> Iterator[Record]:
    """Yield the records up to the damage, which is added to `damage`: an error would end
    `heapq.merge` for all partitions.
    """
    try:
        yield from records
    except RecordsDamaged as error:
        damage.append(error)


def _read_range(
    stream: FileStream,
    place: TopicPartition,
    start: int,
    stop: int,
    note: Note,
    *,
    keep_open: bool,
) -> Iterator[Record]:
    """Yield the records from `start` up to `stop`.

    With too many partitions to keep all of them open, a reader is opened anew for each chunk.
    """
    position = start
    while position < stop:
        with stream.consumer([place.topic], partitions=[place.partition], start=position) as reader:
            while position < stop:
                batch = poll_or_note(reader, min(_CHUNK_RECORDS, stop - position), note)
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


def poll_or_note(
    reader: Consumer, max_records: int, note: Note, timeout_s: float = 0.0
) -> list[Record]:
    """Poll; call `note` with what retention has deleted before it was read."""
    try:
        return reader.poll(max_records, timeout_s)
    except RecordsLost as error:
        note(error.text())
        return []


def follow_on(
    stream: FileStream, topic: str | None, partition: int | None, ranges: Ranges, note: Note
) -> Iterator[list[Record]]:
    """Yield what comes after the ranges, by append time; an empty list after each second without
    records. Raises RecordsDamaged.
    """
    topics = None if topic is None else [topic]
    only = None if partition is None else [partition]
    with stream.consumer(topics, partitions=only) as consumer:
        for place, (_, _, end) in ranges.items():
            # If the topic was deleted meanwhile, or the log truncated: from its begin.
            with contextlib.suppress(OffsetOutOfRange):
                consumer.seek(*place, end)
        while True:
            records = poll_or_note(consumer, _CHUNK_RECORDS, note, _IDLE_S)
            yield sorted(records, key=lambda record: record.timestamp_ns)
