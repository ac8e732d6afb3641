"""The values that travel: a record, and the place a record is in."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record as a consumer sees it.

    `offset` counts records in the partition from 0; `timestamp_ns` is the wall time of the append
    in nanoseconds since 1970 and never runs backwards within a partition.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ns: int
    value: bytes


class TopicPartition(NamedTuple):
    """The place of an ordered sequence of records."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"
