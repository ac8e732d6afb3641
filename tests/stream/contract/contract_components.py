"""Check what components use besides records: blocks, wake-ups without a poll, snapshots of ends."""

from contract_kit import TOPIC, read_all, values
from contract_waiting import is_readable

from rdv.stream import WAKEUP_PRIORITIES, TopicPartition, records_of


class Components:
    def test_blocks_hold_the_records_that_a_poll_returns(self, world):
        world.stream.make_topic(TOPIC, 3)
        producer = world.producer()
        for n in range(30):
            producer.send(TOPIC, b"%d" % n * (n % 4))
        blocks, by_poll = world.consumer().look_blocks(100), read_all(world.consumer())
        assert sorted(records_of(blocks), key=str) == sorted(by_poll, key=str)
        for block in blocks:
            assert len(block) == len(block.offsets) == len(block.values())
            assert [block.value(n) for n in range(len(block))] == block.values()

    def test_blocks_have_no_more_records_than_asked_for(self, world):
        world.producer().send_many(TOPIC, [b"x"] * 10)
        consumer, sizes = world.consumer(), []
        while blocks := consumer.look_blocks(4):
            sizes.append(sum(map(len, blocks)))
        assert sizes == [4, 4, 2]

    def test_poll_blocks_asks_for_a_wakeup_only_when_it_returns_nothing(self, world):
        producer, consumer = world.producer(), world.consumer()
        fd = consumer.fileno()
        producer.send(TOPIC, b"1")
        assert values(records_of(consumer.poll_blocks(10, is_notified=True))) == [b"1"]
        producer.send(TOPIC, b"2")
        assert not is_readable(fd)
        assert values(records_of(consumer.poll_blocks(10, is_notified=False))) == [b"2"]
        assert consumer.poll_blocks(10, is_notified=False) == []
        producer.send(TOPIC, b"3")
        assert is_readable(fd, 60)
        assert values(records_of(consumer.poll_blocks(10, is_notified=True))) == [b"3"]
        assert not is_readable(fd)

    def test_poll_blocks_loses_nothing_if_a_notification_is_not_known(self, world):
        producer, consumer = world.producer(), world.consumer()
        fd = consumer.fileno()
        assert consumer.poll_blocks(10, is_notified=True) == []
        producer.send(TOPIC, b"x")
        assert values(records_of(consumer.poll_blocks(10, is_notified=False))) == [b"x"]
        assert is_readable(fd, 60)
        assert consumer.poll_blocks(10, is_notified=True) == []
        producer.send(TOPIC, b"y")
        assert is_readable(fd, 60)

    def test_drained_wakeups_make_the_descriptor_quiet_until_the_next(self, world):
        producer, consumer = world.producer(), world.consumer()
        fd = consumer.fileno()
        assert consumer.poll_blocks(10, is_notified=True) == []
        producer.send(TOPIC, b"x")
        assert is_readable(fd, 60)
        consumer.drain_wakeups()
        assert not is_readable(fd)
        assert values(consumer.look()) == [b"x"]
        assert consumer.poll_blocks(10, is_notified=False) == []
        producer.send(TOPIC, b"y")
        assert is_readable(fd, 60)

    def test_a_consumer_has_the_last_wakeup_priority_until_it_is_given_one(self, world):
        assert world.consumer().wakeup_priority == WAKEUP_PRIORITIES[-1] == max(WAKEUP_PRIORITIES)

    def test_all_records_before_a_snapshot_of_the_ends_are_read_and_no_later_one(self, world):
        world.stream.make_topic(TOPIC, 3)
        producer = world.producer()
        for n in range(20):
            producer.send(TOPIC, b"early", partition=n % 2)
        ends = {
            TopicPartition(TOPIC, n): world.stream.end(TOPIC, n)
            for n in range(world.stream.partitions(TOPIC))
        }
        for n in range(20):
            producer.send(TOPIC, b"late", partition=n % 3)
        consumer, early, late = world.consumer(), [], []
        for record in read_all(consumer, 7):
            end = ends[TopicPartition(record.topic, record.partition)]
            (early if record.offset < end else late).append(record.value)
        assert early == [b"early"] * 20
        assert late == [b"late"] * 20
        assert all(consumer.positions()[place] >= end for place, end in ends.items())

    def test_the_time_of_the_newest_record_is_known(self, world):
        world.stream.make_topic(TOPIC, 2)
        world.producer().send(TOPIC, b"x", partition=1)
        (record,) = world.consumer().poll()
        assert world.stream.newest_ns(TOPIC, 0) is None
        assert world.stream.newest_ns(TOPIC, 1) == record.timestamp_ns
