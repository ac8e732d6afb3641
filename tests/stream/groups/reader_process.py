"""Run a reader as a process: `reader_process.py ADDRESS JOB`. It reports JSON lines on stdout."""

import json
import os
import sys

from rdv.stream import open_stream
from rdv.stream.errors import Closed

ROUNDS = 2000


def tell(*words):
    os.write(1, (json.dumps(words) + "\n").encode())


def wait_once(stream):
    """Poll once with a long timeout; report at the moment when the poll blocks."""
    with stream.consumer(["t"]) as consumer:
        wait = consumer._waiter.wait

        def telling_wait(timeout_s):
            tell("waiting")
            consumer._waiter.wait = wait
            wait(timeout_s)

        consumer._waiter.wait = telling_wait
        tell("records", [r.value.decode() for r in consumer.poll(timeout=30)])


def answer(stream):
    with stream.consumer(["ping"]) as consumer, stream.producer() as producer:
        tell("ready")
        for _ in range(ROUNDS):
            while not (records := consumer.poll(1, timeout=30)):
                pass
            producer.send("pong", records[0].value)


def tail(stream):
    """Read all records up to one that says "end"; check that each comes once, in order."""
    with stream.consumer(["t"]) as consumer:
        tell("ready")
        seen = {}
        while True:
            for record in consumer.poll(timeout=30):
                assert record.offset == seen.get(record.partition, -1) + 1, record
                seen[record.partition] = record.offset
                if record.value == b"end":
                    tell("seen", sum(seen.values()) + len(seen))
                    return


def inherit(stream):
    """Report what a forked child can do with its parent's consumer and producer."""
    producer = stream.producer()
    producer.send("t", b"parent")
    consumer = stream.consumer(["t"], group="g")
    consumer.poll()
    consumer.poll(timeout=0.001)
    pid = os.fork()
    if pid == 0:
        try:
            consumer.poll(timeout=30)
        except Closed:
            tell("closed")
        try:
            consumer.fileno()
        except Closed:
            tell("closed")
        producer.send("t", b"child")
        consumer.close()
        producer.close()
        os._exit(0)
    os.waitpid(pid, 0)
    tell("members", consumer.member_id in stream.group_state("g").members)
    consumer.commit()
    producer.send("t", b"parent again")
    tell("records", [r.value.decode() for r in consumer.poll() + consumer.poll()])
    tell("fresh", [r.value.decode() for r in stream.consumer(["t"]).poll()])


def follow(stream):
    """Take a reader's slot anew while a forked child still has the old FIFO open."""
    first = stream.consumer(["t"])
    first.fileno()
    while first.poll():
        pass
    tell("armed")
    sys.stdin.readline()
    read_end, write_end = os.pipe()
    born, is_born = os.pipe()
    if os.fork() == 0:
        os.close(write_end)
        os.write(is_born, b"1")
        os.read(read_end, 1)
        os._exit(0)
    # Until the child has run, it has our FIFO open and may get a wake-up (the backstop covers
    # that).
    os.read(born, 1)
    first.close()
    second = stream.consumer(["t"], start="latest")
    fd = second.fileno()
    while second.poll():
        pass
    tell("armed")
    sys.stdin.readline()
    import select

    tell("readable", bool(select.select([fd], [], [], 0)[0]))
    os.close(write_end)
    os.wait()


if __name__ == "__main__":
    globals()[sys.argv[2]](open_stream(sys.argv[1]))
