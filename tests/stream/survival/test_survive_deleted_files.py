"""Files are deleted, moved or replaced under processes that have them open."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack

import pytest
from survival_children import Child, hear, say
from survival_disks import QuietDisk
from survival_logs import TOPIC, open_log, partition_directory

from rdv.stream.errors import LockTimeout
from rdv.stream.file.disk import Disk
from rdv.stream.file.lock import locked

DISKS = [Disk, QuietDisk]  # in C, and in Python


def send_for_ever(path, name):
    """Send, and say at the end how many were acknowledged, and where."""
    with open_log(path) as stream, stream.producer() as producer:
        say("ready")
        hear()
        offsets = []
        for number in range(3_000):
            offsets.append(producer.send(TOPIC, f"{name}-{number}".encode())[1])
        say(offsets)
        hear()


def values_of(path):
    with open_log(path) as stream, stream.consumer([TOPIC]) as consumer:
        found = {}
        while records := consumer.poll(5_000):
            found |= {record.offset: record.value for record in records}
        return found


def test_no_acknowledged_record_is_lost_while_the_lock_file_is_deleted_again_and_again(tmp_path):
    path = tmp_path / "log"
    with open_log(path) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"first")
    lock = partition_directory(path) / "lock"
    names = ("a", "b")
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                Child("test_survive_deleted_files", "send_for_ever", str(path), name)
            )
            for name in names
        ]
        for child in children:
            assert child.expect() == "ready"
        # Between two sends of one process: who is in the middle of one cannot be helped.
        for child in children:
            lock.unlink()
            child.tell()
            offsets = child.expect()
            assert len(offsets) == 3_000
            found = values_of(path)
            name = names[children.index(child)]
            assert [found[offset] for offset in offsets] == [
                f"{name}-{number}".encode() for number in range(3_000)
            ]
        assert sorted(found) == list(range(6_001))


@pytest.mark.parametrize("disk", DISKS)
def test_two_writers_meet_in_the_new_lock_file(tmp_path, disk):
    path = tmp_path / "log"
    with (
        open_log(path, disk()) as one,
        open_log(path, disk()) as two,
        one.producer() as first,
        two.producer() as second,
    ):
        sent = [first.send(TOPIC, b"0"), second.send(TOPIC, b"1")]
        (partition_directory(path) / "lock").unlink()
        sent += [second.send(TOPIC, b"2"), first.send(TOPIC, b"3")]
        lock = partition_directory(path) / "lock"
        lock.rename(lock.with_name("aside"))
        lock.write_bytes(b"")
        (lock.with_name("aside")).unlink()
        sent += [first.send(TOPIC, b"4"), second.send(TOPIC, b"5")]
        assert sent == [(0, number) for number in range(6)]
        assert values_of(path) == {number: b"%d" % number for number in range(6)}


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("gone", ["topic", "partition"])
def test_a_directory_that_is_deleted_under_a_writer_is_made_anew(tmp_path, disk, gone):
    path = tmp_path / "log"
    with open_log(path, disk()) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"before")
        shutil.rmtree(path / TOPIC if gone == "topic" else partition_directory(path))
        assert producer.send(TOPIC, b"after") == (0, 0)
        assert values_of(path) == {0: b"after"}


@pytest.mark.parametrize("disk", DISKS)
def test_a_directory_that_is_replaced_under_a_writer_is_noticed_in_a_bounded_time(tmp_path, disk):
    path = tmp_path / "log"
    with open_log(path, disk()) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"before")
        (path / TOPIC).rename(tmp_path / "aside")
        deadline = 100_000
        while not (path / TOPIC).exists():
            producer.send(TOPIC, b"after")
            deadline -= 1
            assert deadline, "the writer does not notice"
        assert b"after" in values_of(path).values()


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("suffixes", [(".index",), (".jsonl",), (".index", ".jsonl")])
def test_nothing_is_written_into_a_deleted_segment_for_long(tmp_path, disk, suffixes):
    path = tmp_path / "log"
    with open_log(path, disk()) as stream, stream.producer() as producer:
        for number in range(5):
            producer.send(TOPIC, b"%d" % number)
        directory = partition_directory(path)
        for suffix in suffixes:
            for file in directory.glob(f"*{suffix}"):
                file.unlink()
        last, deadline = -1, 100_000
        while len(list(directory.glob("*.index"))) < 2 - (".index" in suffixes):
            _, last = producer.send(TOPIC, b"after")
            deadline -= 1
            assert deadline, "the writer does not notice"
        # No offset is given twice, and what comes from now on can be read.
        _, offset = producer.send(TOPIC, b"sound")
        assert offset == last + 1
        with stream.consumer([TOPIC], start="latest") as consumer:
            consumer.seek(TOPIC, 0, offset)
            assert [record.value for record in consumer.poll()] == [b"sound"]


def test_a_lock_that_was_replaced_while_we_waited_for_it_is_not_ours(tmp_path):
    path = str(tmp_path / "lock")
    disk = Disk()
    with locked(disk, path, 1_000):
        os.unlink(path)
        # This one excludes those that come now, the other excludes nobody.
        with locked(disk, path, 1_000), pytest.raises(LockTimeout), locked(disk, path, 20):
            pass
