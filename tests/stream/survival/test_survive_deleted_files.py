"""Check files that are deleted, moved or replaced under processes that have them open."""

from __future__ import annotations

import os
import random
import select
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from threading import Event

import pytest
from survival_children import Child, hear, say
from survival_disks import QuietDisk
from survival_logs import TOPIC, open_log, partition_directory

from rdv.errors import RdvError
from rdv.stream import open_stream
from rdv.stream.errors import LockTimeout, RecordsDamaged
from rdv.system.disk import Disk
from rdv.system.file_lock import locked

DISKS = [Disk, QuietDisk]  # with the C extension, and without


def send_for_ever(path, name):
    """Send records, and say at the end which offsets were acknowledged."""
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
        # Delete it between two sends of one process: a send that is under way cannot be protected.
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
def test_a_topic_that_is_deleted_under_a_writer_is_made_anew(tmp_path, disk):
    path = tmp_path / "log"
    with open_log(path, disk()) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"before")
        shutil.rmtree(path / TOPIC)
        assert producer.send(TOPIC, b"after") == (0, 0)
        assert values_of(path) == {0: b"after"}


def delete_files(*patterns):
    """Delete files of the last segment, which is all that a writer has open."""

    def delete(directory):
        for pattern in patterns:
            max(directory.glob(pattern)).unlink()

    return delete


def move_away(directory):
    aside = directory.parents[2] / f"aside-{random.getrandbits(64):x}"
    with suppress(FileNotFoundError):
        directory.rename(aside)


DELETIONS = {
    "index": delete_files("*.index"),
    "values": delete_files("*.jsonl"),
    "segment": delete_files("*.index", "*.jsonl"),
    "lock": delete_files("lock"),
    "lock and segment": delete_files("lock", "*.index", "*.jsonl"),
    "directory": lambda directory: shutil.rmtree(directory, ignore_errors=True),
    "moved directory": move_away,
}


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("partition", [0, 1])
@pytest.mark.parametrize("what", DELETIONS)
@pytest.mark.parametrize("after", [0, 1, 200])
def test_what_was_deleted_under_a_living_writer_is_put_back(tmp_path, disk, what, partition, after):
    """The writer does so at its next appends or when it closes; no offset or record is lost."""
    path = tmp_path / "log"
    with open_log(path, disk(), partitions=2) as stream:
        with stream.producer() as producer:
            for number in range(20):
                producer.send(TOPIC, b"%d\n" % number, partition=partition)
            DELETIONS[what](path / TOPIC / str(partition))
            for number in range(20, 20 + after):
                sent = producer.send(TOPIC, b"%d\n" % number, partition=partition)
                assert sent == (partition, number)
        with stream.consumer([TOPIC], partitions=[partition]) as consumer:
            found = {}
            while records := consumer.poll(500):
                found |= {record.offset: record.value for record in records}
        assert found == {number: b"%d\n" % number for number in range(20 + after)}
        assert [d for report in stream.verify(TOPIC, partition) for d in report.damage] == []


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("what", DELETIONS)
def test_two_writers_put_back_one_segment(tmp_path, disk, what):
    """One of the writers notices first; what the other writes meanwhile is appended behind it."""
    path = tmp_path / "log"
    with (
        open_log(path, disk()) as one,
        open_log(path, disk()) as two,
        one.producer() as first,
        two.producer() as second,
    ):
        sent = {}
        for number in range(600):
            if number == 100 or (number == 350 and "directory" not in what):
                DELETIONS[what](partition_directory(path))
            producer = second if number % 7 == 0 or 300 < number < 450 else first
            value = b"%d\n" % number
            sent[producer.send(TOPIC, value)[1]] = value
        assert len(sent) == 600
    assert values_of(path) == sent
    with open_log(path) as stream:
        assert [d for report in stream.verify(TOPIC, 0) for d in report.damage] == []


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("what", ["lock and segment", "directory", "moved directory", "segment"])
def test_another_writer_begins_anew_before_the_first_one_notices(tmp_path, disk, what):
    """Offsets are used twice then, but each record is there."""
    path = tmp_path / "log"
    with (
        open_log(path, disk()) as one,
        open_log(path, disk()) as two,
        one.producer() as first,
        two.producer() as second,
    ):
        sent = [b"%d\n" % number for number in range(30)]
        for value in sent[:10]:
            first.send(TOPIC, value)
        DELETIONS[what](partition_directory(path))
        if what in ("directory", "moved directory"):
            partition_directory(path).mkdir()
        for value in sent[10:20]:
            second.send(TOPIC, value)
        for value in sent[20:]:
            first.send(TOPIC, value)
    assert set(sent) <= set(values_of(path).values())


def test_a_topic_that_is_made_anew_does_not_get_what_was_in_the_old_one(tmp_path):
    path = tmp_path / "log"
    with open_log(path) as stream, stream.producer() as producer, open_log(path) as other:
        producer.send(TOPIC, b"before")
        other.delete_topic(TOPIC)
        other.make_topic(TOPIC)
        producer.send(TOPIC, b"after")
    assert values_of(path) == {0: b"after"}


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("what", ["index", "values", "segment", "lock and segment"])
@pytest.mark.parametrize("appends", [0, 1, 40])
def test_a_segment_that_is_deleted_shortly_before_it_is_sealed_is_put_back(
    tmp_path, disk, what, appends
):
    """The writer seals it before the next time that it checks whether its files exist."""
    path = tmp_path / "log"
    with open_log(path, disk(), segment_bytes=1_000) as stream:
        with stream.producer() as producer:
            for number in range(150):
                if number == 100 - appends:
                    DELETIONS[what](partition_directory(path))
                producer.send(TOPIC, b"%09d\n" % number)
        assert values_of(path) == {number: b"%09d\n" % number for number in range(150)}
        assert [d for report in stream.verify(TOPIC, 0) for d in report.damage] == []


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("what", DELETIONS)
@pytest.mark.parametrize("after", [0, 1])
def test_a_writer_that_comes_from_an_earlier_segment_costs_no_record(tmp_path, disk, what, after):
    """It has not had the deleted files open, and meets a part of a segment, or none."""
    path, sent = tmp_path / "log", []
    with (
        open_log(path, disk(), segment_bytes=1_000) as one,
        open_log(path, disk()) as two,
        one.producer() as first,
        two.producer() as second,
    ):
        for number in range(120):
            sent.append(b"%09d\n" % number)
            (second if number < 40 else first).send(TOPIC, sent[-1])
        DELETIONS[what](partition_directory(path))
        if "directory" in what:
            partition_directory(path).mkdir()
        for producer, count in ((second, 1), (first, after)):
            for _ in range(count):
                sent.append(b"%09d\n" % len(sent))
                producer.send(TOPIC, sent[-1])
    # Segments that were sealed when the directory went are lost.
    kept = sent[100:] if "directory" in what else sent
    with open_log(path) as stream:
        assert set(kept) <= set(values_until(stream, set()))


class Slow(QuietDisk):
    """Stop in the middle of an append, between the values and the index entries, when told."""

    def __init__(self):
        self.must_stop, self.has_stopped, self.may_go_on = False, Event(), Event()

    def pwrite(self, fd, data, position):
        if self.must_stop and len(data) % 32 == 0:
            self.has_stopped.set()
            assert self.may_go_on.wait(60)
        return os.pwrite(fd, data, position)


class Waits(QuietDisk):
    """Say so when a lock has to be waited for."""

    def __init__(self):
        self.waits = Event()

    def wait_for_lock(self, fd):
        self.waits.set()
        super().wait_for_lock(fd)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, see FORMAT.md")
@pytest.mark.parametrize("is_new", [True, False])
def test_a_writer_waits_for_an_append_under_a_lock_file_that_it_never_had_open(tmp_path, is_new):
    """Two lock files are deleted in turn, or the writer is opened after the deletion."""
    path, slow, other = tmp_path / "log", Slow(), Waits()
    lock = partition_directory(path) / "lock"
    with (
        open_log(path, slow) as one,
        open_log(path, other) as two,
        one.producer() as first,
        two.producer() as second,
    ):
        first.send(TOPIC, b"0\n")
        if not is_new:
            second.send(TOPIC, b"1\n")
            lock.unlink()
            first.send(TOPIC, b"2\n")
        slow.must_stop = True
        with ThreadPoolExecutor(2) as pool:
            stopped = pool.submit(first.send, TOPIC, b"3\n")
            assert slow.has_stopped.wait(60)
            lock.unlink()
            waiting = pool.submit(second.send, TOPIC, b"4\n")
            waiting.add_done_callback(lambda _: other.waits.set())
            assert other.waits.wait(60)
            slow.may_go_on.set()
            offsets = {stopped.result(60)[1]: b"3\n", waiting.result(60)[1]: b"4\n"}
    assert len(offsets) == 2
    found = values_of(path)
    assert {offset: found[offset] for offset in offsets} == offsets


def write_until_told(path, name):
    """Send batches until the parent says something; then say how many values were acknowledged."""
    with open_log(path) as stream:
        count = 0
        with stream.producer() as producer:
            say("ready")
            while not select.select([sys.stdin], [], [], 0)[0]:
                size = 1 + count % 5
                values = [f"{name}-{number}\n".encode() for number in range(count, count + size)]
                producer.send_many(TOPIC, values)
                count += size
        say(count)
        hear()


@pytest.mark.parametrize("seed", range(2))
def test_no_acknowledged_record_is_lost_while_files_are_deleted_at_random(tmp_path, seed):
    path, turn, writers = tmp_path / "log", random.Random(seed), 3
    with open_log(path, segment_bytes=200_000, retention_ms=None) as stream, ExitStack() as stack:
        stream.make_topic(TOPIC)
        children = [
            stack.enter_context(
                Child("test_survive_deleted_files", "write_until_told", str(path), f"w{number}")
            )
            for number in range(writers)
        ]
        for child in children:
            assert child.expect() == "ready"
        for _ in range(8):
            before = stream.end(TOPIC, 0)
            deadline = time.monotonic() + 30
            while stream.end(TOPIC, 0) <= before and time.monotonic() < deadline:
                time.sleep(turn.random() / 50)
            bases = stream.segments(TOPIC, 0)
            # Only what writers have open: other files cannot be put back.
            last = f"{bases[-1] if bases else 0:020d}"
            suffixes = turn.choice([["index"], ["jsonl"], ["index", "jsonl"], [], []])
            for suffix in suffixes:
                (partition_directory(path) / f"{last}.{suffix}").unlink(missing_ok=True)
            if not suffixes or turn.random() < 0.3:
                (partition_directory(path) / "lock").unlink(missing_ok=True)
            time.sleep(turn.random() / 5)
        for child in children:
            child.tell()
        counts = [child.expect() for child in children]
        assert min(counts) > 0
        found = set(values_until(stream, named := set()))
        # A segment that is sealed between our look and our deletion may not be open in any writer.
        missing = {
            value
            for writer, count in enumerate(counts)
            for number in range(count)
            if (value := f"w{writer}-{number}\n".encode()) not in found
        }
        assert len(missing) <= len(named)
        with open_log(path) as looking:
            told = [one for report in looking.verify(TOPIC, 0) for one in report.damage]
        assert named <= {
            offset for one in told for offset in range(one.first_offset, one.last_offset + 1)
        }


def values_until(stream, named):
    """Yield all values; add the damaged offsets to `named`."""
    with stream.consumer([TOPIC]) as consumer:
        while True:
            try:
                records = consumer.poll(5_000)
            except RecordsDamaged as error:
                named.update(range(error.first_offset, error.last_offset + 1))
                consumer.seek(TOPIC, 0, error.last_offset + 1)
                continue
            if not records:
                return
            yield from (record.value for record in records)


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("values", ["missing", "empty"])
def test_a_new_lock_file_is_no_new_boot_and_nothing_is_cut_off(tmp_path, disk, values):
    path = tmp_path / "log"
    sent = [b"first-%d" % number for number in range(120)]
    with open_log(path, disk()) as first, first.producer() as writer:
        for value in sent[:20]:
            writer.send(TOPIC, value)
        (partition_directory(path) / "lock").unlink()
        lost = partition_directory(path) / f"{0:020d}.jsonl"
        lost.unlink()
        if values == "empty":
            lost.touch()
        with open_log(path, disk()) as second, second.producer() as other:
            other.send(TOPIC, b"other")
        for value in sent[20:]:
            writer.send(TOPIC, value)
    found = list(values_of(path).values())
    assert sorted(found) == sorted([*sent, b"other"])


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


def replace_by_copy(directory, aside):
    directory.rename(aside)
    shutil.copytree(aside, directory)


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("what", ["topic", "partition"])
def test_a_reader_goes_on_in_the_directory_that_is_in_the_place_of_its_own(tmp_path, disk, what):
    """The writer has ended, and another one writes to the directory that is at the path now."""
    path = tmp_path / "log"
    directory = path / TOPIC if what == "topic" else path / TOPIC / "0"
    with open_log(path, disk()) as stream, stream.consumer([TOPIC], group="g") as consumer:
        with open_log(path) as other, other.producer() as producer:
            producer.send(TOPIC, b"before")
        assert [one.value for one in consumer.poll(timeout=5)] == [b"before"]
        replace_by_copy(directory, tmp_path / "aside")
        with open_log(path) as other, other.producer() as producer:
            assert producer.send(TOPIC, b"after") == (0, 1)
            found = [one.value for _ in range(30) for one in consumer.poll(timeout=0.1)]
        assert found == [b"after"]


@pytest.mark.parametrize("disk", DISKS)
def test_a_group_goes_on_in_the_directory_that_is_in_the_place_of_its_own(tmp_path, disk):
    """Others see the commits, and no member is taken for dead."""
    path = tmp_path / "log"
    with open_log(path, disk()) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"1")
        with stream.consumer([TOPIC], group="g") as consumer:
            assert len(consumer.poll()) == 1
            consumer.commit()
            replace_by_copy(path / ".groups" / "g", tmp_path / "aside")
            producer.send(TOPIC, b"2")
            assert len(consumer.poll()) == 1
            consumer.commit()
            with open_log(path) as other:
                assert list(other.committed("g").values()) == [2]
            lease = consumer._member._lease
            lease.beat(time.monotonic_ns())
            name = consumer._member.name
            assert stream._backend.group("g").absent([name], time.monotonic_ns(), 10**10) == set()


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
        # No offset is given twice, and what is appended from now on can be read.
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
        # The new lock excludes later callers; the one that is held on the deleted file excludes
        # none.
        with locked(disk, path, 1_000), pytest.raises(LockTimeout), locked(disk, path, 20):
            pass


def test_an_open_stream_makes_nothing_where_its_directory_was(tmp_path):
    place = tmp_path / "s"
    with open_stream(str(place)) as stream, stream.producer() as producer:
        producer.send("t", b"1\n")
        with stream.consumer(["t"], group="g") as consumer:
            assert len(consumer.poll()) == 1
            place.rename(tmp_path / "away")
            for exists in (False, True):
                if exists:
                    place.mkdir()
                with pytest.raises(RdvError):
                    stream.make_topic("new", 2)
                with pytest.raises(RdvError):
                    stream.consumer(["t"], group="other")
                with pytest.raises(RdvError):
                    consumer.commit()
                with pytest.raises(RdvError):
                    producer.send("t", b"2\n")
            assert list(place.iterdir()) == []
            place.rmdir()
            (tmp_path / "away").rename(place)
            producer.send("t", b"2\n")
            assert [record.value for record in consumer.poll(timeout=30)] == [b"2\n"]
            consumer.commit()
