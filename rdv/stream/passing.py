"""Going on behind what cannot be read: the one rule for every reader that must not end by it."""

from __future__ import annotations

from rdv.errors import RdvError
from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost
from rdv.stream.protocol import Consumer
from rdv.stream.record import TopicPartition


def pass_over(consumer: Consumer, error: RdvError) -> bool:
    """After a poll that raised `error`: whether the next poll goes on behind what is lost.

    Damaged records are passed over. A position beyond the end (the log was cut, or its files were
    deleted) becomes the end: everything before it has been read. False when there is nothing to go
    on with yet: try again later. Raises nothing.
    """
    if isinstance(error, RecordsLost):
        return True  # the consumer has gone on by itself
    if isinstance(error, RecordsDamaged):
        return _go_on(consumer, error.topic, error.partition, error.last_offset + 1)
    if isinstance(error, OffsetOutOfRange):
        return _go_on(consumer, error.topic, error.partition, error.end)
    return False


def _go_on(consumer: Consumer, topic: str, partition: int, offset: int) -> bool:
    """Seek, within what there is; whether that has changed the position."""
    place = TopicPartition(topic, partition)
    was = consumer.positions().get(place)
    try:
        try:
            consumer.seek(topic, partition, offset)
        except OffsetOutOfRange as bounds:
            consumer.seek(topic, partition, min(max(offset, bounds.begin), bounds.end))
    except RdvError:
        return False  # it does not read the partition any more, or the disk refuses
    return consumer.positions().get(place) != was


def lost_count(error: RdvError) -> int:
    """How many records the error says cannot be read."""
    if isinstance(error, RecordsDamaged | RecordsLost):
        return error.last_offset - error.first_offset + 1
    return 0
