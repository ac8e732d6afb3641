"""Check how topics are named, made, grown and deleted."""

import pytest
from contract_kit import TOPIC, read_all, values

from rdv.stream.errors import (
    InvalidArgument,
    InvalidName,
    PartitionNotFound,
    PartitionsShrink,
    TopicNotFound,
)

BAD_NAMES = [
    "", ".", "..", "../x", "a/b", "/a", "a/", ".hidden", "-dash", "a\0b", "a b", "a\n", "ä",
    "日本", "a:b", "a\\b", "~", "a" * 201,
]  # fmt: skip
GOOD_NAMES = ["a", "_a", "0", "7.x-Y_z", "a..b", "p-8100", "a" * 200]


class Topics:
    @pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
    def test_a_bad_name_is_refused_everywhere_and_makes_nothing(self, world, name):
        stream, producer = world.stream, world.producer()
        for use in (
            lambda: producer.send(name, b"x"),
            lambda: producer.send_many(name, [b"x"]),
            lambda: producer.partition_for(name, b"key"),
            lambda: world.consumer([name]),
            lambda: stream.make_topic(name),
            lambda: stream.partitions(name),
            lambda: stream.end(name),
            lambda: stream.delete_topic(name),
            lambda: world.consumer([TOPIC], group=name),
            lambda: stream.committed(name),
        ):
            with pytest.raises(InvalidName) as caught:
                use()
            assert caught.value.name == name
        assert set(stream.topics()) <= {TOPIC}
        assert stream.groups() == []

    @pytest.mark.parametrize("name", GOOD_NAMES, ids=ascii)
    def test_a_good_name_works_for_topics_and_groups(self, world, name):
        world.producer().send(name, b"x")
        consumer = world.consumer([name], group=name)
        assert values(consumer.poll()) == [b"x"]
        assert world.stream.topics() == world.stream.groups() == [name]

    def test_the_settings_file_is_no_topic(self, world):
        with pytest.raises(InvalidName):
            world.producer().send("stream.toml", b"x")

    def test_a_topic_is_made_on_first_use_with_the_streams_partitions(self, world):
        world.open(partitions=3)
        assert world.stream.topics() == []
        world.producer().send("by-producer", b"x")
        world.consumer(["by-consumer"])
        world.stream.make_topic("by-hand")
        assert world.stream.topics() == ["by-consumer", "by-hand", "by-producer"]
        assert [world.stream.partitions(t) for t in world.stream.topics()] == [3, 3, 3]

    def test_what_is_not_there_is_named(self, world):
        stream = world.stream
        for ask in (stream.partitions, stream.begin, stream.end, stream.delete_topic):
            with pytest.raises(TopicNotFound) as caught:
                ask("nothing")
            assert caught.value.topic == "nothing"
        stream.make_topic(TOPIC, 2)
        for partition in (-1, 2):
            with pytest.raises(PartitionNotFound):
                stream.end(TOPIC, partition)
        assert stream.topics() == [TOPIC]

    def test_partitions_grow_and_never_shrink(self, world):
        stream = world.stream
        stream.make_topic(TOPIC, 2)
        stream.make_topic(TOPIC, 2)
        stream.make_topic(TOPIC, 5)
        stream.make_topic(TOPIC)
        with pytest.raises(PartitionsShrink):
            stream.make_topic(TOPIC, 4)
        assert stream.partitions(TOPIC) == 5

    @pytest.mark.parametrize("count", [0, -1, 4097])
    def test_an_impossible_number_of_partitions_is_refused(self, world, count):
        with pytest.raises(InvalidArgument):
            world.stream.make_topic(TOPIC, count)
        assert world.stream.topics() == []

    def test_open_producers_and_consumers_notice_growth(self, world):
        other = world.open()
        producer, consumer = world.producer(), world.consumer()
        latest = world.consumer(start="latest")
        producer.send(TOPIC, b"old")
        assert values(read_all(consumer)) == values(read_all(latest)) == [b"old"]
        other.make_topic(TOPIC, 3)
        assert {producer.send(TOPIC, b"new")[0] for _ in range(3)} == {0, 1, 2}
        assert producer.send(TOPIC, b"new", partition=2) == (2, 1)
        assert values(read_all(consumer)) == values(read_all(latest)) == [b"new"] * 4
        assert len(consumer.assignment()) == 3

    def test_a_deleted_topic_and_its_commits_are_gone(self, world):
        producer = world.producer()
        producer.send_many(TOPIC, [b"a", b"b"])
        producer.send("other", b"c")
        with world.stream.consumer([TOPIC, "other"], group="g") as consumer:
            read_all(consumer)
            consumer.commit()
        world.stream.delete_topic(TOPIC)
        assert world.stream.topics() == ["other"]
        assert world.stream.committed("g") == {("other", 0): 1}
        world.stream.make_topic(TOPIC)
        assert world.stream.end(TOPIC) == 0

    @pytest.mark.parametrize("is_made_anew", [False, True])
    def test_what_is_sent_after_a_topic_was_deleted_is_not_lost(self, world, is_made_anew):
        producer = world.producer()
        producer.send(TOPIC, b"before")
        world.stream.delete_topic(TOPIC)
        if is_made_anew:
            world.stream.make_topic(TOPIC)
        assert producer.send(TOPIC, b"after") == (0, 0)
        assert values(read_all(world.consumer())) == [b"after"]

    def test_a_consumer_reads_a_topic_that_was_deleted_and_made_anew(self, world):
        world.producer().send_many(TOPIC, [b"before"] * 2)
        consumer = world.consumer(topics=None)
        assert len(read_all(consumer)) == 2
        world.stream.delete_topic(TOPIC)
        world.producer().send(TOPIC, b"after")
        assert values(read_all(consumer)) == [b"after"]
