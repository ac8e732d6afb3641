"""Check where a partition's records are: begin, end and time. Losses by retention are reported."""

import pytest
from contract_kit import TOPIC, read_all, values
from fake_clock import START_NS

from rdv.stream.errors import RecordsLost

LIMIT = {"retention_bytes": 400, "segment_bytes": 100, "retention_ms": None}


def fill(producer, count, first=0):
    for n in range(first, first + count):
        producer.send(TOPIC, b"%050d" % n)


class Places:
    def test_begin_and_end_of_an_empty_and_of_a_filled_partition(self, world):
        world.stream.make_topic(TOPIC, 2)
        assert (world.stream.begin(TOPIC), world.stream.end(TOPIC)) == (0, 0)
        world.producer().send_many(TOPIC, [b""] * 3, partition=1)
        ends = [(world.stream.begin(TOPIC, n), world.stream.end(TOPIC, n)) for n in range(2)]
        assert ends == [(0, 0), (0, 3)]

    @pytest.mark.parametrize("segment_bytes", [1, 3, 1_000_000])
    def test_offset_at_finds_the_first_of_equal_times(self, world, segment_bytes):
        world.open(segment_bytes=segment_bytes, retention_ms=None)
        assert world.stream.make_topic(TOPIC) is None
        assert world.stream.offset_at(TOPIC, 0, START_NS) == 0
        producer = world.producer()
        times = [10, 10, 10, 20, 30, 30, 30, 30, 50]
        for time_ns in times:
            world.clock.wall = START_NS + time_ns
            producer.send(TOPIC, b"x")
        for ask in range(9, 52):
            expected = next((n for n, t in enumerate(times) if t >= ask), len(times))
            assert world.stream.offset_at(TOPIC, 0, START_NS + ask) == expected, ask
        assert world.stream.offset_at(TOPIC, 0, 0) == 0
        assert world.stream.offset_at(TOPIC, 0, 2**62) == 9

    @pytest.mark.parametrize("segment_bytes", [1, 9, 1_000_000])
    def test_one_clock_that_was_ahead_does_not_spoil_the_times_behind_it(
        self, world, segment_bytes
    ):
        world.open(segment_bytes=segment_bytes, retention_ms=None)
        year, second = 365 * 86_400 * 10**9, 10**9
        told = [0, 1, year, year + 1, 2 * second, 3 * second, 4 * second]
        producer = world.producer()
        for step in told:
            world.clock.wall = START_NS + step
            producer.send(TOPIC, b"x")
        assert [r.timestamp_ns - START_NS for r in read_all(world.consumer())] == told
        at = world.stream.offset_at
        assert at(TOPIC, 0, START_NS + 3 * second) == 5
        assert at(TOPIC, 0, START_NS + 4 * second) == 6
        assert at(TOPIC, 0, START_NS + 5 * second) == 7
        assert at(TOPIC, 0, START_NS + 1) == 1
        assert at(TOPIC, 0, START_NS) == 0

    @pytest.mark.parametrize("segment_bytes", [1, 1_000_000])
    def test_time_never_runs_backwards_even_if_the_clock_does(self, world, segment_bytes):
        world.open(segment_bytes=segment_bytes, retention_ms=None)
        for step in (0, -5, 7, -1000, 8, -(59 * 10**9)):
            world.clock.wall = START_NS + step
            with world.stream.producer() as producer:
                producer.send(TOPIC, b"x")
                producer.send_many(TOPIC, [b"y", b"z"])
        times = [record.timestamp_ns - START_NS for record in read_all(world.consumer())]
        assert times == [0] * 6 + [7] * 6 + [8] * 6

    def test_retention_takes_the_oldest_and_keeps_the_newest(self, world):
        world.open(**LIMIT)
        fill(world.producer(), 50)
        begin, end = world.stream.begin(TOPIC), world.stream.end(TOPIC)
        assert 30 < begin < end == 50
        records = read_all(world.consumer())
        assert [r.offset for r in records] == list(range(begin, 50))
        assert values(records)[-1] == b"%050d" % 49
        assert world.consumer(start=0).positions() == {(TOPIC, 0): begin}

    def test_a_reader_behind_retention_gets_one_error_naming_the_loss(self, world):
        world.open(**LIMIT)
        producer, consumer = world.producer(), world.consumer()
        fill(producer, 3)
        assert [r.offset for r in consumer.poll(1)] == [0]
        fill(producer, 60, first=3)
        found, lost = [0], []
        for _ in range(100):
            try:
                found += [r.offset for r in consumer.poll()]
            except RecordsLost as error:
                lost += range(error.first_offset, error.last_offset + 1)
            if found[-1] == 62:
                break
        assert found == sorted(set(found))
        assert lost
        assert sorted(found + lost) == list(range(63))

    def test_what_one_partition_lost_does_not_cost_another_its_records(self, world):
        world.open(**LIMIT)
        world.stream.make_topic(TOPIC, 2)
        producer, consumer = world.producer(), world.consumer()
        producer.send_many(TOPIC, [b"a", b"b"], partition=1)
        for n in range(60):
            producer.send(TOPIC, b"%050d" % n, partition=0)
        found, losses = [], []
        for _ in range(50):
            try:
                found += consumer.poll(4)
            except RecordsLost as error:
                losses.append(error.partition)
        assert losses == [0]
        assert [r.value for r in found if r.partition == 1] == [b"a", b"b"]
        assert any(r.offset == 59 for r in found)
