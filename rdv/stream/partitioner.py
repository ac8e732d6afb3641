"""The partitioner chooses a record's partition when the sender does not name one."""

from __future__ import annotations

from zlib import crc32


def partition_of_key(key: bytes, partitions: int) -> int:
    """Return the partition of `key` among `partitions`: CRC-32 modulo the count.

    It is stable across processes, machines and versions of rdv, and the same as librdkafka's
    `consistent` partitioner, so that a key keeps its partition when a log moves to Kafka. It
    changes when partitions are added.
    """
    return crc32(key) % partitions
