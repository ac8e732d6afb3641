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

`FORMAT.md` beside this file describes the bytes on disk.
"""

from __future__ import annotations

from rdv.stream.config import StreamConfig
from rdv.stream.group.member import GroupTiming
from rdv.stream.open import create_stream, open_stream
from rdv.stream.protocol import ArrowReadable, Consumer, Producer, Purgeable, Stream, Verifiable
from rdv.stream.record import Record, TopicPartition

__all__ = [
    "ArrowReadable",
    "Consumer",
    "GroupTiming",
    "Producer",
    "Purgeable",
    "Record",
    "Stream",
    "StreamConfig",
    "TopicPartition",
    "Verifiable",
    "create_stream",
    "open_stream",
]
