"""Check locks of another process, met by the sync thread and by the first reader of a boot."""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import contextmanager

import pytest
from survival_disks import FaultyDisk
from survival_logs import NEVER_MS, TOPIC, open_log, partition_directory, read_all, writer_of

from rdv.clock import SYSTEM_CLOCK
from rdv.stream import open_stream
from rdv.stream.errors import LockTimeout, SyncFailed, WouldWait
from rdv.stream.file.backend import FileBackend
from rdv.stream.file.directory import read_config
from rdv.stream.files import FileStream
from rdv.system.disk import Disk

DEADLINE_S = 30
OTHER_BOOT = b"of another boot."


@contextmanager
def held(path):
    """Hold the flock of this file through another open file, which acts like another process."""
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


class WatchedDisk(Disk):
    """Record which files have been synced."""

    def __init__(self):
        self.news = threading.Condition()
        self.synced = []

    def fdatasync(self, fd):
        super().fdatasync(fd)
        with self.news:
            self.synced.append(os.readlink(f"/proc/self/fd/{fd}"))
            self.news.notify_all()

    def await_sync(self, wanted, since):
        with self.news:
            return self.news.wait_for(
                lambda: any(wanted in path for path in self.synced[since:]), DEADLINE_S
            )


def test_a_sender_that_waits_for_a_lock_does_not_hold_up_the_sync_of_other_partitions(tmp_path):
    disk, path = WatchedDisk(), tmp_path / "log"
    settings = {"fsync": "interval", "fsync_interval_ms": 5, "lock_timeout_ms": NEVER_MS}
    with open_log(path, disk, **settings) as stream, stream.producer() as producer:
        producer.send("held", b"1")
        producer.send("free", b"1")
        with held(path / "held" / "0" / "lock"):
            waiting = threading.Thread(target=producer.send, args=("held", b"2"))
            waiting.start()
            while not writer_of(producer, "held")._mutex.locked():
                pass
            since = len(disk.synced)
            producer.send("free", b"2")
            is_synced = disk.await_sync("/free/", since)
        waiting.join()
        assert is_synced


@pytest.mark.parametrize("at", [1, 2])
def test_a_failed_sync_waits_for_no_lock_and_the_segment_is_sealed_later(tmp_path, at):
    disk, path = FaultyDisk(kinds=("fdatasync",)), tmp_path / "log"
    settings = {
        "fsync": "interval", "fsync_interval_ms": NEVER_MS, "lock_timeout_ms": NEVER_MS,
    }  # fmt: skip
    with open_log(path, disk, **settings) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"written")
        writer = writer_of(producer)
        with held(partition_directory(path) / "lock"):
            disk.plan(at)
            syncing = threading.Thread(target=writer.sync, daemon=True)
            syncing.start()
            syncing.join(DEADLINE_S)
            assert not syncing.is_alive(), "the sync waits for the lock"
            with pytest.raises(WouldWait):
                writer.append([b"not now"], wait_ms=0)
        writer.sync()  # seals the segment
        with open_log(path) as other, other.producer() as another:
            _, offset = another.send(TOPIC, b"of another process")
            assert other.segments(TOPIC, 0) == [0, offset]
        with pytest.raises(SyncFailed):
            producer.send(TOPIC, b"told")
        producer.send(TOPIC, b"goes on")
        assert list(read_all(stream).records.values())[-1] == b"goes on"


class Rebooted(Disk):
    def boot_id(self):
        return OTHER_BOOT


def after_reboot(path, *, may_wait):
    config = read_config(Disk(), str(path))
    backend = FileBackend(Rebooted(), str(path), config, SYSTEM_CLOCK)
    return FileStream(backend, SYSTEM_CLOCK, may_wait=may_wait)


@pytest.mark.parametrize("start", ["earliest", "latest"])
@pytest.mark.parametrize("group", [None, "g"])
def test_a_first_reader_that_may_not_wait_reads_the_others_and_then_the_held_one(
    tmp_path, start, group
):
    path = tmp_path / "log"
    with open_log(path) as stream, stream.producer() as producer:
        for topic in ("free", "held"):
            producer.send(topic, b"before")
    with after_reboot(path, may_wait=False) as stream, stream.producer() as producer:
        with (
            held(path / "held" / "0" / "lock"),
            stream.consumer(group=group, start=start) as consumer,
        ):
            assert [place.topic for place in consumer.assignment()] == ["free"]
            producer.send("free", b"after")
            found = records_of(consumer, 2 if start == "earliest" else 1)
            assert {topic for topic, _ in found} == {"free"}
            if group is not None:
                consumer.commit()
        with stream.consumer(group=group, start=start) as consumer:
            assert len(consumer.assignment()) == 2


def test_a_consumer_takes_up_a_partition_whose_lock_is_free_again_from_where_it_would_have(
    tmp_path,
):
    path = tmp_path / "log"
    with open_log(path) as stream, stream.producer() as producer:
        producer.send("held", b"before")
    with after_reboot(path, may_wait=False) as stream:
        with held(path / "held" / "0" / "lock"):
            early, late = stream.consumer(), stream.consumer(start="latest")
            assert early.poll() == late.poll() == []
        with early, late, stream.producer() as producer:
            assert records_of(early, 1) == [("held", b"before")]
            while not late.assignment():
                assert late.poll(timeout=0.05) == []
            producer.send("held", b"after")
            assert records_of(early, 1) == records_of(late, 1) == [("held", b"after")]


def records_of(consumer, count):
    found = []
    while len(found) < count:
        found += [(r.topic, r.value) for r in consumer.poll(timeout=1.0)]
    return found


def test_a_first_reader_that_may_wait_names_the_holder_of_the_lock(tmp_path):
    path = tmp_path / "log"
    with open_log(path, lock_timeout_ms=50) as stream, stream.producer() as producer:
        producer.send("held", b"before")
    with (
        after_reboot(path, may_wait=True) as stream,
        held(path / "held" / "0" / "lock"),
        pytest.raises(LockTimeout),
    ):
        stream.consumer()
    with open_stream(str(path)) as stream, stream.consumer() as consumer:
        assert records_of(consumer, 1) == [("held", b"before")]
