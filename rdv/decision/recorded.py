"""Read the latest recorded requests: rows to try a model with."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from rdv.errors import RdvError
from rdv.rendezvous.messages import MalformedMessage, decode_request
from rdv.stream import Stream


def recent_data(stream: Stream, count: int, without: Collection[str] = ()) -> list[bytes]:
    """Return the `data` of up to `count` requests of the input stream, the newest first.

    `without` are ids of requests that are left out. What cannot be read is left out too.
    """
    found: list[tuple[int, bytes]] = []
    with contextlib.suppress(RdvError):
        places = [(topic, p) for topic in stream.topics() for p in range(stream.partitions(topic))]
        if not places:
            return []
        with stream.consumer(list({topic for topic, _ in places}), start="latest") as consumer:
            left = 0
            for topic, partition in places:
                end = stream.end(topic, partition)
                first = max(end - count, stream.begin(topic, partition))
                consumer.seek(topic, partition, first)
                left += end - first
            # Not to the end of the stream: under load there are always more.
            while left > 0 and (records := consumer.poll(count)):
                left -= len(records)
                for record in records:
                    with contextlib.suppress(MalformedMessage):
                        request = decode_request(record.value)
                        if request.id not in without:
                            found.append((record.timestamp_ns, bytes(request.data)))
    found.sort(key=lambda one: -one[0])
    return [data for _, data in found[:count]]
