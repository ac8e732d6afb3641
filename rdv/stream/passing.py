"""A reader that must not stop uses `pass_over` to continue after records that cannot be read."""

from __future__ import annotations

from rdv.errors import RdvError
from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost
from rdv.stream.protocol import Consumer
from rdv.stream.record import TopicPartition


def pass_over(consumer: Consumer, error: RdvError) -> bool:
    """Skip what a poll that raised `error` could not read; returns whether the next poll continues.

    Damaged records are skipped. A position beyond the end (the log was cut, or its files were
    deleted) becomes the end: everything before it has been read. Returns False when there is
    nothing to continue with yet: try again later. Raises nothing.
    """
    if isinstance(error, RecordsLost | OffsetOutOfRange):
        return True  # the consumer has moved on by itself
    if isinstance(error, RecordsDamaged):
        return _go_on(consumer, error.topic, error.partition, error.last_offset + 1)
    return False


def _go_on(consumer: Consumer, topic: str, partition: int, offset: int) -> bool:
    """Seek within the offsets that exist; returns whether the position has changed."""
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
    """Return how many records cannot be read according to the error."""
    if isinstance(error, RecordsDamaged | RecordsLost):
        return error.last_offset - error.first_offset + 1
    return 0
