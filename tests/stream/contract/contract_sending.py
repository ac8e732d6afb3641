"""Check what send, send_many and send_nowait of a producer promise."""

import threading
from zlib import crc32

import pytest
from contract_kit import TOPIC, read_all, values

from rdv.stream.errors import InvalidArgument, InvalidName, PartitionNotFound, RecordTooLarge

ODD_VALUES = [b"", b"\n", b"\0", bytes(range(256)), b"a\nb\n", b"\xff" * 1000, b"{}\n", b""]


class Sending:
    def test_offsets_count_from_zero_in_each_partition(self, world):
        world.stream.make_topic(TOPIC, 2)
        producer = world.producer()
        sent = [producer.send(TOPIC, b"x", partition=n % 2) for n in range(6)]
        assert sent == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]

    def test_a_batch_is_contiguous_and_returns_its_first_offset(self, world):
        producer = world.producer()
        assert producer.send_many(TOPIC, [b"a", b"b", b"c"]) == (0, 0)
        assert producer.send(TOPIC, b"d") == (0, 3)
        assert producer.send_many(TOPIC, (b"e", b"f")) == (0, 4)
        records = read_all(world.consumer())
        assert [r.offset for r in records] == list(range(6))
        assert b"".join(values(records)) == b"abcdef"

    def test_an_empty_batch_appends_nothing_and_tells_the_end(self, world):
        producer = world.producer()
        assert producer.send_many(TOPIC, []) == (0, 0)
        producer.send_many(TOPIC, [b"a", b"b"])
        assert producer.send_many(TOPIC, []) == (0, 2)
        assert world.stream.end(TOPIC) == 2

    def test_any_bytes_come_back_as_they_were(self, world):
        producer = world.producer()
        producer.send_many(TOPIC, ODD_VALUES)
        for value in ODD_VALUES:
            producer.send(TOPIC, value)
        records = read_all(world.consumer())
        assert values(records) == ODD_VALUES * 2
        assert all(type(record.value) is bytes for record in records)

    def test_buffers_are_copied_at_the_send(self, world):
        producer, buffer = world.producer(), bytearray(b"before")
        producer.send(TOPIC, buffer)
        producer.send_many(TOPIC, [memoryview(buffer), buffer])
        buffer[:] = b"after!"
        assert values(read_all(world.consumer())) == [b"before"] * 3

    @pytest.mark.parametrize("value", ["text", None, 7, [b"x"]])
    def test_what_is_not_bytes_is_refused_and_appends_nothing(self, world, value):
        producer = world.producer()
        for send in (
            lambda: producer.send(TOPIC, value),
            lambda: producer.send_many(TOPIC, [b"good", value]),
            lambda: producer.send_nowait(TOPIC, value),
        ):
            with pytest.raises(InvalidArgument):
                send()
        assert world.stream.end(TOPIC) == 0

    def test_a_record_may_be_as_large_as_the_limit_and_no_larger(self, world):
        world.open(record_bytes_max=10)
        producer = world.producer()
        producer.send(TOPIC, b"x" * 10)
        for send in (producer.send, lambda t, v: producer.send_many(t, [b"", v])):
            with pytest.raises(RecordTooLarge) as caught:
                send(TOPIC, b"x" * 11)
            assert (caught.value.size_bytes, caught.value.limit_bytes) == (11, 10)
        assert world.stream.end(TOPIC) == 1

    def test_a_batch_beyond_the_limit_is_refused_as_a_whole(self, world):
        large = bytes(16 * 1024 * 1024)
        with pytest.raises(RecordTooLarge) as caught:
            world.producer().send_many(TOPIC, [large] * 5)
        assert caught.value.what == "batch"
        assert world.stream.end(TOPIC) == 0

    def test_nowait_tells_the_outcome_by_the_next_flush(self, world):
        producer, outcomes = world.producer(), []
        for value in (b"a", b"b"):
            producer.send_nowait(TOPIC, value, on_ack=lambda *outcome: outcomes.append(outcome))
        producer.send_nowait(TOPIC, b"c")
        producer.flush(timeout=30)
        assert outcomes == [(0, 0, None), (0, 1, None)]
        assert values(read_all(world.consumer())) == [b"a", b"b", b"c"]

    def test_nowait_raises_misuse_here_and_now(self, world):
        world.open(record_bytes_max=3)
        producer, outcomes = world.producer(), []
        cases = [
            (RecordTooLarge, TOPIC, b"four", None),
            (PartitionNotFound, TOPIC, b"x", 1),
            (InvalidName, "../escape", b"x", None),
        ]
        for error, topic, value, partition in cases:
            with pytest.raises(error):
                producer.send_nowait(
                    topic, value, partition=partition, on_ack=lambda *o: outcomes.append(o)
                )
        assert outcomes == []

    def test_a_key_goes_where_its_crc_says(self, world):
        world.stream.make_topic(TOPIC, 7)
        producer = world.producer()
        for n in range(50):
            key = b"user-%d" % n
            where = crc32(key) % 7
            assert producer.partition_for(TOPIC, key) == where
            assert producer.send(TOPIC, b"x", key=key)[0] == where
            assert producer.send_many(TOPIC, [b"x"], key=key)[0] == where

    def test_a_partition_wins_over_a_key(self, world):
        world.stream.make_topic(TOPIC, 4)
        producer = world.producer()
        key = next(k for k in (b"a", b"b", b"c") if crc32(k) % 4 != 3)
        assert producer.send(TOPIC, b"x", key=key, partition=3)[0] == 3

    def test_without_key_and_partition_they_take_turns(self, world):
        world.stream.make_topic(TOPIC, 5)
        producer = world.producer()
        turns = [producer.send(TOPIC, b"x")[0] for _ in range(10)]
        assert sorted(turns[:5]) == sorted(turns[5:]) == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("partition", [-1, 2, 4096])
    def test_a_partition_that_is_not_there_is_named(self, world, partition):
        world.stream.make_topic(TOPIC, 2)
        producer = world.producer()
        for send in (producer.send_nowait, producer.send):
            with pytest.raises(PartitionNotFound) as caught:
                send(TOPIC, b"x", partition=partition)
            assert (caught.value.partition, caught.value.partitions) == (partition, 2)
        with pytest.raises(PartitionNotFound):
            producer.send_many(TOPIC, [b"x"], partition=partition)

    @pytest.mark.parametrize("is_shared", [False, True])
    def test_two_threads_interleave_without_loss(self, world, is_shared):
        shared = world.producer()
        producers = [shared, shared] if is_shared else [shared, world.producer()]
        acknowledged = {}

        def send(name, producer):
            for n in range(150):
                value = b"%d:%d" % (name, n)
                if n % 3:
                    acknowledged[producer.send(TOPIC, value)[1]] = value
                else:
                    first = producer.send_many(TOPIC, [value, value + b"'"])[1]
                    acknowledged.update({first: value, first + 1: value + b"'"})

        threads = [threading.Thread(target=send, args=pair) for pair in enumerate(producers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        records = read_all(world.consumer())
        assert {r.offset: r.value for r in records} == acknowledged
        assert [r.offset for r in records] == list(range(400))
        for name in (b"0:", b"1:"):
            own = [r.value for r in records if r.value.startswith(name) and r.value[-1:] != b"'"]
            assert own == [name + b"%d" % n for n in range(150)]
