"""A stream is a partitioned, append-only log that many processes share.

This package is independent of the rendezvous.

    from rdv.stream import open_stream

    stream = open_stream("fraud/input")
    with stream.producer() as producer:
        partition, offset = producer.send("requests", b"...", key=b"user-42")
    with stream.consumer(["requests"], group="gbm") as consumer:
        for record in consumer.poll(max_records=500, timeout=0.5):
            ...
        consumer.commit()

What is exported here, and the modules `errors`, `files` and `window`, are public; nothing else is.
`FORMAT.md` beside this file describes the bytes on disk.
"""

from __future__ import annotations

from rdv.stream.address import check_name, parse_address
from rdv.stream.backend import WAKEUP_PRIORITIES
from rdv.stream.config import DAY_MS, PARTITIONS_MAX, Fsync, StreamConfig, make_config
from rdv.stream.group.member import GroupTiming
from rdv.stream.group.state import GroupState
from rdv.stream.open import create_stream, open_stream
from rdv.stream.passing import lost_count, pass_over
from rdv.stream.protocol import Consumer, Producer, Stream
from rdv.stream.record import Block, Record, TopicPartition, records_of
from rdv.stream.start import Recent, Start
from rdv.stream.times import AHEAD_MAX_NS

__all__ = [
    "AHEAD_MAX_NS",
    "DAY_MS",
    "PARTITIONS_MAX",
    "WAKEUP_PRIORITIES",
    "Block",
    "Consumer",
    "Fsync",
    "GroupState",
    "GroupTiming",
    "Producer",
    "Recent",
    "Record",
    "Start",
    "Stream",
    "StreamConfig",
    "TopicPartition",
    "check_name",
    "create_stream",
    "lost_count",
    "make_config",
    "open_stream",
    "parse_address",
    "pass_over",
    "records_of",
]
