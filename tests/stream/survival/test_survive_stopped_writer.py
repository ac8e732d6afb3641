"""Check that other writers get an error and go on when a stopped process holds a lock."""

from __future__ import annotations

import os
import signal

import pytest
from survival_children import Child, hear, say
from survival_disks import QuietDisk
from survival_logs import TOPIC, assert_sound, open_log, partition_directory

from rdv.stream.errors import LockTimeout


class StoppedDisk(QuietDisk):
    """Say so in the middle of an append, while the lock is held, and wait to be stopped."""

    def pwrite(self, fd, data, position):
        if data == b"stopped":
            say("holds the lock")
            hear()
        return os.pwrite(fd, data, position)


def send_until_stopped(path):
    stream = open_log(path, StoppedDisk())
    producer = stream.producer()
    producer.send(TOPIC, b"before")
    say(producer.send(TOPIC, b"stopped"))
    hear()


@pytest.fixture
def stopped(tmp_path):
    path = tmp_path / "log"
    open_log(path, lock_timeout_ms=200).close()
    with Child("test_survive_stopped_writer", "send_until_stopped", str(path)) as child:
        assert child.expect() == "holds the lock"
        child.signal(signal.SIGSTOP)
        child.wait_stopped()
        yield path, child


def assert_times_out(producer, pid):
    with pytest.raises(LockTimeout) as caught:
        producer.send(TOPIC, b"must wait")
    assert str(pid) in caught.value.holder.split()
    assert caught.value.waited_ms == 200
    assert caught.value.path.endswith("/t/0/lock")


def test_a_lock_timeout_names_the_stopped_holder_and_writers_go_on_after_sigcont(stopped):
    path, child = stopped
    with open_log(path) as stream, stream.producer() as producer:
        for _ in range(2):
            assert_times_out(producer, child.pid)
        child.signal(signal.SIGCONT)
        child.tell()
        assert child.expect() == [0, 1]
        assert producer.send(TOPIC, b"after") == (0, 2)
        child.tell()
        assert_sound(stream, {0: b"before", 1: b"stopped", 2: b"after"})


def test_writers_go_on_after_the_stopped_holder_is_killed(stopped):
    path, child = stopped
    with open_log(path) as stream, stream.producer() as producer:
        assert_times_out(producer, child.pid)
        child.kill()
        assert producer.send(TOPIC, b"after") == (0, 1)
        assert_sound(stream, {0: b"before", 1: b"after"})


def test_readers_do_not_mind_a_stopped_writer(stopped):
    path, _ = stopped
    with open_log(path) as stream, stream.consumer([TOPIC]) as consumer:
        assert [r.value for r in consumer.poll()] == [b"before"]


def test_a_lock_held_for_a_while_costs_no_record_and_no_later_send(tmp_path):
    """The helper that waited in vain must neither keep nor lose the lock when it gets it."""
    path, disk = tmp_path / "log", QuietDisk()
    with open_log(path, lock_timeout_ms=60) as stream, stream.producer() as producer:
        other_stream = open_log(path)
        other = other_stream.producer()
        producer.send(TOPIC, b"first")
        fd = disk.open(str(partition_directory(path) / "lock"), write=True)
        expected = {0: b"first"}
        for turn in range(6):
            assert disk.try_lock(fd)
            assert_refused(producer, other)
            disk.unlock(fd)
            for sender in (other, producer) if turn % 2 else (producer, other):
                value = b"%d" % len(expected)
                assert _send_at_last(sender, value) == len(expected)
                expected[len(expected)] = value
            _take(disk, fd)
            disk.unlock(fd)
        disk.close(fd)
        other.close()
        other_stream.close()
        assert_sound(stream, expected)


def assert_refused(*producers):
    for producer in producers:
        with pytest.raises(LockTimeout) as caught:
            producer.send(TOPIC, b"must wait")
        assert str(os.getpid()) in caught.value.holder


def _send_at_last(producer, value):
    """Send while the lock passes through helper threads whose callers have given up."""
    return producer.send(TOPIC, value)[1]


def _take(disk, fd):
    disk.wait_for_lock(fd)


def hold_the_lock(path):
    fd = QuietDisk().open(str(path), write=True)
    assert QuietDisk().try_lock(fd)
    say("held")
    hear()


def test_sigkill_of_the_holder_frees_the_lock_while_others_wait(tmp_path):
    path = tmp_path / "log"
    with open_log(path, lock_timeout_ms=20_000) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"first")
        lock = str(partition_directory(path) / "lock")
        for number in range(1, 4):
            with Child("test_survive_stopped_writer", "hold_the_lock", lock) as child:
                assert child.expect() == "held"
                child.signal(signal.SIGKILL)
                assert producer.send(TOPIC, b"%d" % number) == (0, number)
