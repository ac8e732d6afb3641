"""Check closing: later calls raise Closed, closing twice is fine, other handles go on."""

import pytest
from contract_kit import TOPIC, read_all, values

from rdv.stream.errors import Closed

PRODUCER_CALLS = {
    "send": lambda p: p.send(TOPIC, b"x"),
    "send_many": lambda p: p.send_many(TOPIC, [b"x"]),
    "send_many empty": lambda p: p.send_many(TOPIC, []),
    "send_nowait": lambda p: p.send_nowait(TOPIC, b"x"),
    "partition_for": lambda p: p.partition_for(TOPIC, b"x"),
}
CONSUMER_CALLS = {
    "poll": lambda c: c.poll(),
    "poll waiting": lambda c: c.poll(timeout=30),
    "commit": lambda c: c.commit(),
    "heartbeat": lambda c: c.heartbeat(),
    "fileno": lambda c: c.fileno(),
    "seek": lambda c: c.seek(TOPIC, 0, 0),
    "seek_to": lambda c: c.seek_to("latest"),
}
STREAM_CALLS = {
    "producer": lambda s: s.producer(),
    "consumer": lambda s: s.consumer([TOPIC]),
    "make_topic": lambda s: s.make_topic("more", 2),
    "delete_topic": lambda s: s.delete_topic(TOPIC),
}


class Closing:
    @pytest.mark.parametrize("call", PRODUCER_CALLS)
    def test_a_closed_producer_says_so(self, world, call):
        producer = world.producer()
        producer.send(TOPIC, b"x")
        producer.close()
        producer.close()
        with pytest.raises(Closed):
            PRODUCER_CALLS[call](producer)
        assert world.stream.end(TOPIC) == 1

    @pytest.mark.parametrize("call", CONSUMER_CALLS)
    def test_a_closed_consumer_says_so(self, world, call):
        world.producer().send(TOPIC, b"x")
        consumer = world.consumer(group="g")
        consumer.poll()
        consumer.close()
        consumer.close()
        with pytest.raises(Closed):
            CONSUMER_CALLS[call](consumer)

    @pytest.mark.parametrize("call", STREAM_CALLS)
    def test_a_closed_stream_says_so(self, world, call):
        world.producer().send(TOPIC, b"x")
        other = world.open()
        other.close()
        other.close()
        with pytest.raises(Closed):
            STREAM_CALLS[call](other)
        assert world.stream.topics() == [TOPIC]

    def test_with_closes(self, world):
        with world.stream.producer() as producer, world.stream.consumer([TOPIC]) as consumer:
            producer.send(TOPIC, b"x")
        for call in (lambda: producer.send(TOPIC, b"y"), consumer.poll):
            with pytest.raises(Closed):
                call()

    def test_closing_one_handle_does_not_disturb_another(self, world):
        other = world.open()
        producer, consumer = world.producer(), world.consumer(group="g")
        with other.producer() as theirs, other.consumer([TOPIC], group="g2") as reader:
            theirs.send(TOPIC, b"1")
            assert len(reader.poll()) == 1
        other.close()
        producer.send(TOPIC, b"2")
        assert values(read_all(consumer)) == [b"1", b"2"]
        consumer.commit()
        assert world.stream.committed("g") == {(TOPIC, 0): 2}
