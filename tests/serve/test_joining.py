"""Check which of the requests that precede a worker it reads."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from fake_clock import FakeClock

from rdv.rendezvous.messages import Request
from rdv.serve.batches import REQUESTS
from rdv.serve.worker.requests import START_S, RequestReader
from rdv.stream import StreamConfig, open_stream

SECOND_NS = 1_000_000_000
SLA_MS = 50.0
names = itertools.count()


class Place:
    """Create an input stream in memory, and the workers' intakes that read it."""

    def __init__(self):
        self.clock = FakeClock(1_000 * SECOND_NS, 1_000 * SECOND_NS)
        config = StreamConfig(partitions=1)
        self.stream = open_stream(f"memory:join-{next(names)}", config=config, clock=self.clock)
        self.producer = self.stream.producer()
        self.numbers = itertools.count()

    def ask(self, count, every_ms=100.0, topic="p-1", **more):
        """Append `count` requests, the last one at the present time; return their ids."""
        ids = []
        for number in range(count):
            self.clock.advance(int(every_ms * 1e6) if number else 0)
            now_ns = self.clock.wall_ns()
            id_ = f"r{next(self.numbers)}"
            more.setdefault("deadline_ms", SLA_MS)
            request = Request(id_, now_ns, "h", now_ns, topic, msgspec.Raw(b"1"), **more)
            self.producer.send_many(topic, REQUESTS.write([request]), partition=0)
            ids.append(id_)
        return ids

    def join(self, *, skips=True, **more):
        return RequestReader(self.stream, "gbm", skips=skips, host="h", clock=self.clock, **more)

    def read(self, intake):
        found = []
        for _ in range(3):
            intake.feed.is_ready = True
            found += [waiting.request.id for waiting in intake.read()]
        return found

    def leave(self, intake):
        intake.commit((), 2**62)
        intake.close()


@pytest.fixture
def place():
    place = Place()
    yield place
    place.producer.close()
    place.stream.close()


def test_a_new_model_is_silent_about_what_was_due_before_it_came(place):
    asked = place.ask(50)
    intake = place.join()
    assert place.read(intake) == asked[-1:], "what can still be answered"
    later = place.ask(3)
    assert place.read(intake) == later
    place.clock.advance(SECOND_NS)
    overdue = place.ask(1)
    place.clock.advance(SECOND_NS)
    assert place.read(intake) == overdue, "what is late because of us is reported"
    place.leave(intake)


def test_one_that_sees_everything_sees_the_last_seconds_first(place):
    asked = place.ask(50)
    intake = place.join(skips=False)
    assert place.read(intake) == asked
    place.leave(intake)


def test_the_new_owner_reports_on_all_requests_that_were_left(place):
    place.ask(5)
    first = place.join()
    assert len(place.read(first)) == 1
    place.leave(first)
    left = place.ask(20)
    second = place.join()
    assert place.read(second) == left
    place.leave(second)


def test_a_model_that_returns_after_long_starts_like_a_new_one(place):
    place.ask(1)
    first = place.join()
    place.read(first)
    place.leave(first)
    asked = place.ask(3 * START_S, every_ms=1000)
    second = place.join()
    assert place.read(second) == asked[-1:]
    place.leave(second)


def test_a_model_that_returns_reads_requests_that_may_be_open(place):
    """The time since the request does not matter: a restarted model goes by the longest SLA."""
    place.ask(1)
    first = place.join()
    place.read(first)
    place.leave(first)
    asked = place.ask(3 * START_S, every_ms=1000, deadline_ms=25_000)
    second = place.join(start_s=25)
    assert place.read(second) == asked[-26:]  # the first of them is due right now
    place.leave(second)


def test_the_topic_of_a_new_proxy_is_read_from_its_beginning(place):
    place.ask(1)
    intake = place.join()
    place.read(intake)
    place.clock.advance(SECOND_NS)
    first = place.ask(10, topic="p-2")
    assert place.read(intake) == first
    place.leave(intake)


def test_the_champion_of_the_last_request_is_notified_first(place):
    place.ask(1)
    intake = place.join()
    orders = []
    for windows_ms in ({}, {"gbm": 30, "mlp": 45}, {"mlp": 30}, {"mlp": 30, "gbm": 30}, {"gbm": 9}):
        place.ask(2, windows_ms=windows_ms)
        assert place.read(intake)
        orders.append(intake.feed.consumer.wakeup_priority)
    assert orders == [2, 1, 2, 1, 1]
    place.leave(intake)
