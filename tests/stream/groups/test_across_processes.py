"""Check wake-ups, tails and forks between processes, and many topics and readers in one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rdv.stream import StreamConfig, open_stream

SCRIPT = Path(__file__).with_name("reader_process.py")
ROUNDS = 2000


class Reader:
    def __init__(self, address, job):
        self._process = subprocess.Popen(
            [sys.executable, SCRIPT, address, job],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def hear(self):
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def go_on(self):
        self._process.stdin.write(b"\n")

    def end(self):
        self._process.stdin.close()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


@pytest.fixture
def address(tmp_path):
    return str(tmp_path / "stream")


@pytest.fixture
def start(address):
    readers = []

    def start(job):
        readers.append(Reader(address, job))
        return readers[-1]

    yield start
    for reader in readers:
        reader.end()


def test_a_blocked_reader_is_woken_by_a_send_of_another_process(address, start):
    with open_stream(address) as stream, stream.producer() as producer:
        reader = start("wait_once")
        assert reader.hear() == ["waiting"]
        producer.send("t", b"x")
        assert reader.hear() == ["records", ["x"]]


def test_ping_pong_between_processes_completes(address, start):
    stream = open_stream(address)
    with stream, stream.producer() as producer, stream.consumer(["pong"]) as consumer:
        reader = start("answer")
        assert reader.hear() == ["ready"]
        for n in range(ROUNDS):
            producer.send("ping", b"%d" % n)
            while not (records := consumer.poll(1, timeout=30)):
                pass
            assert records[0].value == b"%d" % n


def test_a_tail_sees_every_record_once_while_segments_roll(address, start):
    config = StreamConfig(segment_bytes=64, retention_ms=None, partitions=2)
    with open_stream(address, config=config) as stream, stream.producer() as producer:
        reader = start("tail")
        assert reader.hear() == ["ready"]
        for n in range(300):
            producer.send("t", b"%020d" % n, partition=0)
            producer.send_many("t", [b"x" * 30] * 3, partition=1)
        producer.send("t", b"mark", partition=1)
        producer.send("t", b"end", partition=0)
        kind, count = reader.hear()
        assert kind == "seen"
        assert 301 <= count <= 1202
        assert len(stream.segments("t", 0)) > 50


def test_an_inherited_consumer_cannot_wait_and_an_inherited_producer_can_send(address, start):
    reader = start("inherit")
    assert [reader.hear() for _ in range(2)] == [["closed"], ["closed"]]
    assert reader.hear() == ["members", True]
    assert reader.hear() == ["records", ["child", "parent again"]]
    assert reader.hear() == ["fresh", ["parent", "child", "parent again"]]


def test_a_notification_reaches_the_new_owner_of_a_slot_open_in_a_forked_child(address, start):
    with open_stream(address) as stream, stream.producer() as producer:
        reader = start("follow")
        for value in (b"1", b"2"):
            assert reader.hear() == ["armed"]
            producer.send("t", value)
            reader.go_on()
        assert reader.hear() == ["readable", True]


def open_files():
    return len(os.listdir("/proc/self/fd"))


def bells(address):
    return [name for name in os.listdir(f"{address}/.doorbells") if name.isdigit()]


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_a_thousand_topics_need_few_descriptors(address):
    limit = 32
    config = StreamConfig(open_partitions_max=limit)
    with open_stream(address, config=config) as stream:
        names = [f"topic-{n}" for n in range(1000)]
        for name in names:
            stream.make_topic(name)
        before = open_files()
        with stream.producer() as producer, stream.consumer() as consumer:
            for n, name in enumerate(names):
                producer.send(name, b"%d" % n)
                if n % 100 == 0:
                    assert open_files() - before <= limit * 3 + 8
            found = []
            while records := consumer.poll():
                found += records
                assert open_files() - before <= limit * 5 + 8
            assert {r.topic: r.value for r in found} == {
                name: b"%d" % n for n, name in enumerate(names)
            }
            assert len(found) == 1000
        assert open_files() == before


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_a_deleted_topic_leaves_no_descriptor_open(address):
    with open_stream(address) as stream:
        stream.make_topic("t")
        before = open_files()
        with stream.producer() as producer:
            producer.send("t", b"x")
            stream.delete_topic("t")
            producer.send("other", b"x")
        assert open_files() <= before + 1


def test_fifty_readers_get_every_record_and_release_their_doorbells(address):
    with open_stream(address) as stream, stream.producer() as producer:
        for _ in range(2):
            readers = [stream.consumer(["t"], start="latest") for _ in range(50)]
            for reader in readers:
                reader.fileno()
                while reader.poll():
                    pass
            assert sorted(map(int, bells(address))) == list(range(50))
            for n in range(20):
                producer.send("t", b"%d" % n)
            for reader in readers:
                found = []
                while records := reader.poll(7):
                    found += records
                assert [r.value for r in found] == [b"%d" % n for n in range(20)]
            for reader in readers:
                reader.close()
            assert bells(address) == []
