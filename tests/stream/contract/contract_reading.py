"""Check what a poll of a consumer returns, in which order, and from where on."""

from datetime import UTC, datetime, timedelta

import pytest
from contract_kit import TOPIC, read_all, values
from fake_clock import START_NS

from rdv.stream.errors import InvalidArgument, OffsetOutOfRange

SECOND_NS = 1_000_000_000


class Reading:
    def test_a_record_tells_its_place_time_and_value(self, world):
        world.producer().send(TOPIC, b"value")
        (record,) = world.consumer().poll()
        assert (record.topic, record.partition, record.offset) == (TOPIC, 0, 0)
        assert (record.timestamp_ns, record.value) == (START_NS, b"value")

    def test_without_a_group_every_consumer_reads_everything(self, world):
        world.stream.make_topic(TOPIC, 3)
        producer = world.producer()
        for n in range(30):
            producer.send(TOPIC, b"%d" % n)
        for _ in range(2):
            assert sorted(values(read_all(world.consumer()))) == sorted(
                b"%d" % n for n in range(30)
            )

    def test_order_is_kept_within_a_partition_and_nothing_comes_twice(self, world):
        world.stream.make_topic(TOPIC, 4)
        producer, consumer = world.producer(), world.consumer()
        seen = {n: [] for n in range(4)}
        for n in range(200):
            producer.send(TOPIC, b"%d" % n)
            if n % 7 == 0:
                for record in consumer.poll(5):
                    seen[record.partition].append(record.offset)
        for record in read_all(consumer, 3):
            seen[record.partition].append(record.offset)
        assert seen == {n: list(range(50)) for n in range(4)}

    @pytest.mark.parametrize("max_records", [1, 2, 7, 29, 30, 31])
    def test_a_poll_hands_out_no_more_than_asked_for(self, world, max_records):
        world.stream.make_topic(TOPIC, 3)
        for partition in range(3):
            world.producer().send_many(TOPIC, [b"x"] * 10, partition=partition)
        consumer, sizes = world.consumer(), []
        while records := consumer.poll(max_records):
            sizes.append(len(records))
        assert sum(sizes) == 30
        assert max(sizes) <= max_records

    @pytest.mark.parametrize("max_records", [0, -1])
    def test_a_poll_for_nothing_is_refused(self, world, max_records):
        with pytest.raises(InvalidArgument):
            world.consumer().poll(max_records)

    def test_no_partition_waits_for_another_to_be_emptied(self, world):
        world.stream.make_topic(TOPIC, 4)
        producer = world.producer()
        for partition in range(4):
            producer.send_many(TOPIC, [b"x"] * 100, partition=partition)
        consumer, served = world.consumer(), []
        for _ in range(4):
            served += [record.partition for record in consumer.poll(10)]
        assert set(served) == {0, 1, 2, 3}

    def test_partitions_can_be_picked(self, world):
        world.stream.make_topic(TOPIC, 3)
        producer = world.producer()
        for partition in range(3):
            producer.send(TOPIC, b"%d" % partition, partition=partition)
        consumer = world.consumer(partitions=[0, 2])
        assert sorted(values(read_all(consumer))) == [b"0", b"2"]
        assert consumer.assignment() == [(TOPIC, 0), (TOPIC, 2)]

    def test_a_consumer_of_all_topics_reads_those_made_later_too(self, world):
        producer, consumer = world.producer(), world.consumer(topics=None, start="latest")
        assert consumer.poll() == []
        for topic in ("one", "two"):
            producer.send(topic, topic.encode())
        assert sorted(values(read_all(consumer))) == [b"one", b"two"]

    def test_a_consumer_of_named_topics_reads_no_others(self, world):
        producer, consumer = world.producer(), world.consumer(["one"])
        producer.send("two", b"no")
        producer.send("one", b"yes")
        assert values(read_all(consumer)) == [b"yes"]

    @pytest.mark.parametrize("topics", ["events", [], "x"])
    def test_topics_are_a_list_that_names_one_at_least(self, world, topics):
        with pytest.raises(InvalidArgument):
            world.stream.consumer(topics)

    def test_start_earliest_latest_and_offsets_within_what_is_there(self, world):
        world.producer().send_many(TOPIC, [b"0", b"1", b"2"])
        expected = {"earliest": 0, "latest": 3, 0: 0, 2: 2, 3: 3, 99: 3}
        for start, offset in expected.items():
            assert world.consumer(start=start).positions() == {(TOPIC, 0): offset}

    def test_start_at_a_time(self, world):
        producer = world.producer()
        for n in range(5):
            world.clock.wall = START_NS + n * SECOND_NS
            producer.send(TOPIC, b"%d" % n)
        begin = datetime.fromtimestamp(START_NS // SECOND_NS, UTC)
        expected = {
            begin - timedelta(days=1): 0,
            begin: 0,
            begin + timedelta(microseconds=1): 1,
            begin + timedelta(seconds=3): 3,
            begin + timedelta(seconds=4, microseconds=1): 5,
            timedelta(0): 4,
            timedelta(seconds=1): 3,
            timedelta(seconds=1, microseconds=3): 3,
            timedelta(days=1): 0,
        }
        for start, offset in expected.items():
            assert world.consumer(start=start).positions() == {(TOPIC, 0): offset}, start

    @pytest.mark.parametrize("microseconds", [1, 3, 7, 33, 999_999, 12_345_678_901])
    def test_a_time_span_reaches_the_record_sent_exactly_then(self, world, microseconds):
        world.producer().send(TOPIC, b"x")
        world.clock.wall += microseconds * 1000
        consumer = world.consumer(start=timedelta(microseconds=microseconds))
        assert consumer.positions() == {(TOPIC, 0): 0}

    @pytest.mark.parametrize(
        "start",
        ["lates", "", -1, True, None, 1.5, datetime(2026, 1, 1)],  # noqa: DTZ001
    )
    def test_a_start_that_is_none_is_refused_by_consumer_and_seek_to(self, world, start):
        with pytest.raises(InvalidArgument):
            world.consumer(start=start)
        world.producer().send_many(TOPIC, [b"x"] * 3)
        consumer = world.consumer(start=2)
        with pytest.raises(InvalidArgument):
            consumer.seek_to(start)
        assert consumer.positions() == {(TOPIC, 0): 2}

    def test_seek_goes_to_any_offset_that_is_there_and_no_other(self, world):
        world.producer().send_many(TOPIC, [b"0", b"1", b"2"])
        consumer = world.consumer()
        for offset in (2, 0, 3, 1):
            consumer.seek(TOPIC, 0, offset)
            assert [r.offset for r in read_all(consumer)] == list(range(offset, 3))
        for offset in (-1, 4):
            with pytest.raises(OffsetOutOfRange) as caught:
                consumer.seek(TOPIC, 0, offset)
            assert (caught.value.begin, caught.value.end) == (0, 3)
        with pytest.raises(InvalidArgument):
            consumer.seek(TOPIC, 1, 0)
        assert consumer.positions() == {(TOPIC, 0): 3}

    def test_seek_to_moves_all_partitions(self, world):
        world.stream.make_topic(TOPIC, 2)
        producer, consumer = world.producer(), world.consumer()
        for partition in range(2):
            producer.send_many(TOPIC, [b"x"] * 3, partition=partition)
        consumer.seek_to("latest")
        assert consumer.poll() == []
        consumer.seek_to(1)
        assert len(read_all(consumer)) == 4
        consumer.seek_to("earliest")
        assert len(read_all(consumer)) == 6

    def test_positions_and_lag_follow_what_is_handed_out(self, world):
        world.stream.make_topic(TOPIC, 2)
        world.producer().send_many(TOPIC, [b"x"] * 5, partition=1)
        consumer = world.consumer()
        assert consumer.lag() == {(TOPIC, 0): 0, (TOPIC, 1): 5}
        while not consumer.poll(2):
            pass
        assert consumer.positions() == {(TOPIC, 0): 0, (TOPIC, 1): 2}
        assert consumer.lag() == {(TOPIC, 0): 0, (TOPIC, 1): 3}
