"""Provide a world that closes what it opens, and a clock that tests can set."""

import time
from contextlib import ExitStack

from fake_clock import FakeClock

from rdv.stream import Record, StreamConfig, open_stream

TOPIC = "events"


class World:
    """Hold one stream, and as many handles, producers and consumers as a test asks for."""

    def __init__(self, address, exits: ExitStack):
        self.address = address
        self.clock = FakeClock(monotonic=None)
        self._exits = exits
        self._stream = None

    @property
    def stream(self):
        if self._stream is None:
            self.open(partitions=1)
        return self._stream

    def open(self, **config):
        """Open one more handle. The first one is `stream`, which is made with `config`."""
        if self._stream is None and not config:
            self.open(partitions=1)
        settings = StreamConfig(**config) if config else None
        stream = open_stream(self.address, config=settings, clock=self.clock)
        self._stream = self._stream or stream
        return self._exits.enter_context(stream)

    def producer(self, stream=None):
        return self._exits.enter_context((stream or self.stream).producer())

    def consumer(self, topics=(TOPIC,), stream=None, **options):
        topics = None if topics is None else list(topics)
        return self._exits.enter_context((stream or self.stream).consumer(topics, **options))


def values(records: list[Record]) -> list[bytes]:
    return [record.value for record in records]


def read_all(consumer, max_records=500) -> list[Record]:
    """Poll until nothing comes; return all records."""
    found = []
    while records := consumer.poll(max_records):
        found += records
    return found


def read_count(consumer, count: int, deadline_s: float = 60.0) -> list[Record]:
    """Poll, waiting, until `count` records have come; return what came by the deadline."""
    found, deadline = [], time.monotonic() + deadline_s
    while len(found) < count and time.monotonic() < deadline:
        found += consumer.poll(timeout=5.0)
    return found
