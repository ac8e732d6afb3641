"""Check that a blocked poll and a descriptor for select wake up, and go quiet again."""

import asyncio
import select
import threading

import pytest
from contract_kit import TOPIC, read_all, read_count, values

ROUNDS = 1500


def is_readable(fd, timeout_s=0.0):
    return bool(select.select([fd], [], [], timeout_s)[0])


def watch(consumer):
    """Read everything, which arms the consumer's descriptor; return the descriptor."""
    fd = consumer.fileno()
    read_all(consumer)
    return fd


class Waiting:
    def test_a_poll_without_records_returns_empty(self, world):
        consumer = world.consumer()
        assert consumer.poll() == consumer.poll(timeout=0.01) == []

    def test_a_blocked_poll_is_woken_by_a_send(self, world):
        producer, consumer = world.producer(), world.consumer()
        arm, is_waiting = consumer._waiter.wait, threading.Event()

        def wait(timeout_s):
            is_waiting.set()
            arm(timeout_s)

        consumer._waiter.wait = wait
        found = []
        thread = threading.Thread(target=lambda: found.extend(consumer.poll(timeout=60)))
        thread.start()
        assert is_waiting.wait(60)
        producer.send(TOPIC, b"x")
        thread.join(60)
        assert values(found) == [b"x"]

    def test_a_descriptor_is_readable_for_a_backlog_and_quiet_when_all_is_read(self, world):
        producer, consumer = world.producer(), world.consumer()
        producer.send(TOPIC, b"backlog")
        fd = consumer.fileno()
        assert consumer.fileno() == fd
        assert is_readable(fd, 60)
        assert values(read_all(consumer)) == [b"backlog"]
        assert not is_readable(fd)

    def test_every_send_makes_the_descriptor_readable(self, world):
        producer, consumer = world.producer(), world.consumer()
        fd = watch(consumer)
        for n in range(5):
            assert not is_readable(fd)
            producer.send(TOPIC, b"%d" % n)
            assert is_readable(fd, 60)
            assert values(read_all(consumer)) == [b"%d" % n]

    def test_a_send_between_reading_and_waiting_leaves_no_notification_behind(self, world):
        producer, consumer = world.producer(), world.consumer()
        fd, arm = watch(consumer), consumer._waiter.arm

        def late_arm(order):
            consumer._waiter.arm = arm
            producer.send(TOPIC, b"late")
            arm(order)

        consumer._waiter.arm = late_arm
        assert values(read_all(consumer)) == [b"late"]
        assert consumer.poll() == []
        assert not is_readable(fd), "an event loop would spin"

    def test_a_spurious_notification_between_arming_and_reading_costs_no_wake_up(self, world):
        # As when a writer sends its wake-up only after its record has been read.
        producer, consumer = world.producer(), world.consumer()
        fd, arm = watch(consumer), consumer._waiter.arm

        def rung_arm(order):
            consumer._waiter.arm = arm
            arm(order)
            world.stream.make_topic("unrelated")

        consumer._waiter.arm = rung_arm
        assert read_all(consumer) == []
        while is_readable(fd):
            assert consumer.poll() == []
        producer.send(TOPIC, b"x")
        assert is_readable(fd), "the wake-up is lost"

    def test_a_send_to_another_partition_or_topic_is_no_reason_to_stay_readable(self, world):
        world.stream.make_topic(TOPIC, 64)
        consumer = world.consumer(partitions=[0])
        fd, producer = watch(consumer), world.producer()
        for partition in range(1, 64):
            producer.send(TOPIC, b"x", partition=partition)
            producer.send("other", b"x")
            assert consumer.poll() == []
            assert not is_readable(fd)

    def test_a_new_partition_wakes_its_waiting_readers(self, world):
        world.stream.make_topic(TOPIC, 1)
        consumer = world.consumer(partitions=[1])
        fd = watch(consumer)
        world.stream.make_topic(TOPIC, 2)
        assert is_readable(fd)
        assert consumer.poll() == []
        world.producer().send(TOPIC, b"x", partition=1)
        assert is_readable(fd)
        assert values(read_all(consumer)) == [b"x"]

    def test_a_partition_noticed_while_arming_is_listened_to(self, world):
        world.stream.make_topic(TOPIC, 1)
        other, consumer = world.open(), world.consumer()
        fd, arm = watch(consumer), consumer._waiter.arm

        def late_arm(order):
            consumer._waiter.arm = arm
            other.make_topic(TOPIC, 64)
            arm(order)

        consumer._waiter.arm = late_arm
        assert consumer.poll() == []
        read_all(consumer) if is_readable(fd) else None
        for partition in range(1, 64):
            world.producer().send(TOPIC, b"x", partition=partition)
            assert is_readable(fd), partition
            assert len(read_all(consumer)) == 1

    @pytest.mark.parametrize("is_watched", [False, True])
    def test_no_wake_up_is_lost_between_two_threads(self, world, is_watched):
        ping, pong = world.producer(), world.producer()
        there, back = world.consumer(["ping"]), world.consumer(["pong"])
        failures = []

        def one(consumer):
            if is_watched:
                fd = consumer.fileno()
                while not (records := consumer.poll(1)):
                    if not is_readable(fd, 30):
                        raise TimeoutError(consumer.positions())
                return records
            # The timeout is far beyond the backstop, which may hide a lost wake-up; the many rounds
            # show it.
            return read_count(consumer, 1)

        def answer():
            try:
                for _ in range(ROUNDS):
                    pong.send("pong", one(there)[0].value)
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=answer)
        thread.start()
        for n in range(ROUNDS):
            ping.send("ping", b"%d" % n)
            (record,) = one(back)
            assert record.value == b"%d" % n, failures
        thread.join()
        assert not failures

    def test_an_asyncio_loop_reads_everything(self, world):
        producer, consumer = world.producer(), world.consumer()
        producer.send_many(TOPIC, [b"x"] * 10)

        async def run():
            loop, done, found = asyncio.get_running_loop(), asyncio.Event(), []

            def look():
                while records := consumer.poll(7):
                    found.extend(records)
                if len(found) == 310:
                    done.set()

            loop.add_reader(consumer.fileno(), look)
            sender = loop.run_in_executor(
                None, lambda: [producer.send(TOPIC, b"%d" % n) for n in range(300)]
            )
            await asyncio.wait_for(done.wait(), 10)
            await sender
            loop.remove_reader(consumer.fileno())
            return found

        assert [r.offset for r in asyncio.run(run())] == list(range(310))

    @pytest.mark.skipif(not hasattr(select, "epoll"), reason="only epoll keeps the order")
    def test_waiting_readers_are_notified_in_priority_order(self, world):
        producer = world.producer()
        producer.send(TOPIC, b"before")
        waiting = {}
        for order in (3, 1, 4, 2):
            consumer = world.consumer()
            consumer.wakeup_priority = order
            waiting[order] = watch(consumer), consumer
        watched = select.epoll()
        for fd, _ in waiting.values():
            watched.register(fd, select.EPOLLIN | select.EPOLLET)
        assert watched.poll(0) == []
        producer.send(TOPIC, b"x")
        # An edge-triggered epoll returns descriptors in the order in which they became readable.
        told = [fd for fd, _ in watched.poll(60)]
        assert told == [waiting[order][0] for order in (1, 2, 3, 4)]
