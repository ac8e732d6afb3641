"""Check which recorded requests are read as samples."""

from __future__ import annotations

import msgspec

from rdv.decision.recorded import recent_data
from rdv.rendezvous.messages import Request, encode_request
from rdv.stream import open_stream


class Busy:
    """A stream to which a request is appended before each poll of its consumers."""

    def __init__(self, stream, producer):
        self._stream, self._producer, self.polls = stream, producer, 0

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def consumer(self, *arguments, **named):
        consumer = self._stream.consumer(*arguments, **named)
        poll = consumer.poll

        def busy_poll(*arguments):
            self.polls += 1
            assert self.polls < 100
            send(self._producer, 1000 + self.polls)
            return poll(*arguments)

        consumer.poll = busy_poll
        return consumer


def send(producer, number):
    request = Request(f"{number:032x}", 0, "h", 1, "p", msgspec.Raw(b"%d" % number))
    producer.send("all", encode_request(request))


def test_reading_ends_under_load(tmp_path):
    with open_stream(str(tmp_path / "input")) as stream, stream.producer() as producer:
        for number in range(5):
            send(producer, number)
        found = recent_data(Busy(stream, producer), 3)
    assert len(found) == 3
    assert {int(data) for data in found} & {2, 3, 4}
