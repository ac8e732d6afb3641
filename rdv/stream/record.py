"""These types hold a record, a block of records, and the partition that records are in.

The partitioner chooses a record's partition when the sender does not name one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, repeat
from typing import NamedTuple, Self
from zlib import crc32

import msgspec


class Record(msgspec.Struct, frozen=True, gc=False):
    """A `Record` is one record as a consumer sees it.

    `offset` counts records in the partition from 0; `timestamp_ns` is the wall time of the append
    in nanoseconds since 1970 and never runs backwards within a partition.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ns: int
    value: bytes


class Block(msgspec.Struct, frozen=True, gc=False):
    """A `Block` holds consecutive records of one partition as they were read, values in one piece.

    Making a Record of each costs more than the rest of reading, so readers of many small records
    (the components of a decision) use blocks.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    timestamps_ns: Sequence[int]
    stops: Sequence[int]
    """The end of each value in `data`."""
    data: bytes

    def __len__(self) -> int:
        return len(self.stops)

    def value(self, number: int) -> bytes:
        """Return the value of one record, counted from 0."""
        return self.data[self.stops[number - 1] if number else 0 : self.stops[number]]

    def values(self) -> list[bytes]:
        """Return the value of each record."""
        stops = self.stops
        if len(stops) == 1:
            return [self.data]
        return list(map(self.data.__getitem__, map(slice, (0, *stops), stops)))

    def records(self) -> list[Record]:
        """Return a Record for each."""
        return list(
            map(
                Record,
                repeat(self.topic),
                repeat(self.partition),
                self.offsets,
                self.timestamps_ns,
                self.values(),
            )
        )

    @classmethod
    def of(cls, records: Sequence[Record]) -> Self:
        """Return the block of these records of one partition, of which there is at least one."""
        values = [record.value for record in records]
        return cls(
            records[0].topic,
            records[0].partition,
            [record.offset for record in records],
            [record.timestamp_ns for record in records],
            list(accumulate(map(len, values))),
            b"".join(values),
        )


def records_of(blocks: Iterable[Block]) -> list[Record]:
    """Return the records of some blocks, in their order."""
    return [record for block in blocks for record in block.records()]


class TopicPartition(NamedTuple):
    """A `TopicPartition` names the place of an ordered sequence of records."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


def partition_of_key(key: bytes, partitions: int) -> int:
    """Return the partition of `key` among `partitions`: CRC-32 modulo the count.

    It is stable across processes, machines and versions of rdv, and the same as librdkafka's
    `consistent` partitioner, so that a key keeps its partition when a log moves to Kafka. It
    changes when partitions are added.
    """
    return crc32(key) % partitions
