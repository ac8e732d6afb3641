"""Check that a missing segment is named as a gap, and that one repair settles it."""

from __future__ import annotations

import os
import shutil

import pytest
from survival_disks import QuietDisk
from survival_logs import TOPIC, damage_of, open_log, partition_directory, read_all

from rdv.stream.file.checkpoint import MARK_AT
from rdv.stream.file.tail import LOOK_EVERY
from rdv.system.disk import Disk

SEGMENT = 12


def make_log(path, per_segment=2, segments=4):
    """Make four sealed segments and an open one; return the bases of all."""
    value = b"x" * (SEGMENT // per_segment)
    with (
        open_log(path, QuietDisk(), segment_bytes=SEGMENT) as stream,
        stream.producer() as producer,
    ):
        for _ in range(per_segment * segments + 1):
            producer.send(TOPIC, value)
        bases = stream.segments(TOPIC, 0)
    assert len(bases) == segments + 1
    return bases


def delete(path, base, *suffixes):
    for suffix in suffixes:
        (partition_directory(path) / f"{base:020d}.{suffix}").unlink()


def named(errors):
    return {offset for one in errors for offset in range(one.first_offset, one.last_offset + 1)}


WHAT = {
    "the segment": ("index", "jsonl"),
    "its index": ("index",),
    "its values": ("jsonl",),
}


@pytest.mark.parametrize("disk", [Disk, QuietDisk])
@pytest.mark.parametrize("per_segment", [1, 2, 6])
@pytest.mark.parametrize("gone", [[1], [2], [1, 2], [1, 3]])
@pytest.mark.parametrize("what", WHAT)
def test_a_missing_middle_segment_is_a_gap_and_is_settled_once(
    tmp_path, disk, per_segment, gone, what
):
    path = tmp_path / "log"
    bases = make_log(path, per_segment)
    lost = set()
    for number in gone:
        delete(path, bases[number], *WHAT[what])
        lost |= set(range(bases[number], bases[number + 1]))
    end = bases[-1] + 1
    for most in (500, 1):
        with open_log(path, disk()) as stream:
            reading = read_all(stream, max_records=most)
        assert reading.lost == [], "retention is blamed"
        assert named(reading.damage) == lost
        assert reading.records.keys() == set(range(end)) - lost
    with open_log(path, disk()) as stream:
        assert named(damage_of(stream)) == lost
        for start in sorted(lost):
            with stream.consumer([TOPIC], start=start) as consumer:
                with pytest.raises(Exception, match="damage in") as caught:
                    consumer.poll()
                assert caught.value.first_offset == start
        with stream.producer() as producer:
            assert producer.send(TOPIC, b"new") == (0, end)
        repairs = stream.repair(TOPIC, 0)
        assert sum(one.given_up for one in repairs) == len(lost)
        assert stream.repair(TOPIC, 0) == []
        assert damage_of(stream) == []
        assert sum(report.lost for report in stream.verify(TOPIC, 0)) == len(lost)
        reading = read_all(stream)
        assert (reading.damage, reading.lost) == ([], [])
        assert reading.records.keys() == set(range(end + 1)) - lost
        values = stream.read_arrow(TOPIC, 0).to_pylist()
        assert {n for n, value in enumerate(values) if value is None} == lost
        assert len(values) == end + 1
        for start in sorted(lost):
            with stream.consumer([TOPIC], start=start) as consumer:
                assert consumer.poll(1)[0].offset == min(set(range(start, end)) - lost)


def test_a_missing_first_segment_is_taken_for_retention(tmp_path):
    path = tmp_path / "log"
    bases = make_log(path)
    delete(path, bases[0], "index", "jsonl")
    with open_log(path) as stream:
        assert stream.begin(TOPIC, 0) == bases[1]
        assert damage_of(stream) == []
        assert stream.repair(TOPIC, 0) == []


@pytest.mark.parametrize("what", WHAT)
def test_a_missing_last_segment_is_named_and_its_offsets_are_not_used_again(tmp_path, what):
    """The mark tells where the end was, as the writer closed the log."""
    path = tmp_path / "log"
    bases = make_log(path)
    delete(path, bases[-1], *WHAT[what])
    with open_log(path) as stream:
        assert stream.end(TOPIC, 0) == bases[-1] + 1
        assert named(read_all(stream).damage) == {bases[-1]}
        assert named(damage_of(stream)) == {bases[-1]}
        with stream.producer() as producer:
            assert producer.send(TOPIC, b"new") == (0, bases[-1] + 1)
        assert named(read_all(stream).damage) == {bases[-1]}
        assert sum(one.given_up for one in stream.repair(TOPIC, 0)) == 1
        assert stream.repair(TOPIC, 0) == []
        assert read_all(stream).damage == []


def test_a_missing_end_is_repaired_before_any_write(tmp_path):
    path = tmp_path / "log"
    bases = make_log(path)
    delete(path, bases[-1], "index", "jsonl")
    with open_log(path) as stream:
        assert sum(one.given_up for one in stream.repair(TOPIC, 0)) == 1
        assert stream.repair(TOPIC, 0) == []
        assert damage_of(stream) == []
        assert stream.end(TOPIC, 0) == bases[-1] + 1
        reading = read_all(stream)
        assert (reading.damage, reading.position) == ([], bases[-1] + 1)
        with stream.consumer([TOPIC]) as consumer, stream.producer() as producer:
            while consumer.poll():
                pass
            assert producer.send(TOPIC, b"new") == (0, bases[-1] + 1)
            assert [record.value for record in consumer.poll(timeout=5)] == [b"new"]


def test_retention_never_makes_a_gap(tmp_path):
    """Nor does it make one around a segment whose values are missing."""
    path = tmp_path / "log"
    bases = make_log(path)
    delete(path, bases[1], "jsonl")
    with open_log(path) as stream:
        stream.purge(TOPIC, 0, before_offset=bases[3])
        assert stream.segments(TOPIC, 0) == bases[3:]
        assert damage_of(stream) == []


def test_retention_while_the_names_are_listed_is_no_gap(tmp_path):
    """The listing may contain an old name, and miss a later one that was deleted meanwhile."""

    class LateDisk(Disk):
        doomed = ()

        def list_files(self, path):
            names = super().list_files(path)
            for doomed in self.doomed:
                doomed.unlink()
            gone = {doomed.name for doomed in self.doomed[1:]}
            self.doomed = ()
            return [name for name in names if name not in gone]

    path = tmp_path / "log"
    bases = make_log(path)
    directory = partition_directory(path)
    disk = LateDisk()
    with open_log(path, disk) as stream:
        disk.doomed = [directory / f"{base:020d}.index" for base in bases[:2]]
        assert damage_of(stream) == []


def test_a_cut_while_the_writer_lives_is_named_at_its_next_append(tmp_path):
    """The writer remembers where the end was, with and without the extension."""
    for disk in (Disk(), QuietDisk()):
        path = tmp_path / type(disk).__name__
        with open_log(path, disk) as stream, stream.producer() as producer:
            for number in range(20):
                producer.send(TOPIC, b"%d" % number)
            index = partition_directory(path) / f"{0:020d}.index"
            os.truncate(index, 7 * 32)
            assert producer.send(TOPIC, b"new") == (0, 20)
            reading = read_all(stream)
            assert named(reading.damage) == set(range(7, 20))
            assert reading.records[20] == b"new"
            assert named(damage_of(stream)) == set(range(7, 20))


@pytest.mark.parametrize("disk", [Disk, QuietDisk])
@pytest.mark.parametrize("what", WHAT)
def test_a_file_that_is_deleted_under_a_living_writer_takes_little_with_it(tmp_path, disk, what):
    """What the file holds is gone, and is named; the writer notices within some appends."""
    path = tmp_path / "log"
    with open_log(path, disk()) as stream, stream.producer() as producer:
        for number in range(5):
            producer.send(TOPIC, b"%d\n" % number)
        delete(path, 0, *WHAT[what])
        for number in range(5, 200):
            assert producer.send(TOPIC, b"%d\n" % number) == (0, number)
    with open_log(path, disk()) as stream:
        reading = read_all(stream, max_records=1)
        assert reading.lost == []
        kept = min(reading.records)
        assert kept <= 5 + LOOK_EVERY
        assert named(reading.damage) == named(damage_of(stream)) == set(range(kept))
        assert reading.records == {number: b"%d\n" % number for number in range(kept, 200)}


def test_values_that_no_entry_names_are_counted(tmp_path):
    """These bytes are all that is left of a cut that nothing else has recorded."""
    path = tmp_path / "log"
    with open_log(path) as stream, stream.producer() as producer:
        for number in range(20):
            producer.send(TOPIC, b"%02d" % number)
    directory = partition_directory(path)
    os.truncate(directory / "lock", MARK_AT)
    os.truncate(directory / f"{0:020d}.index", 7 * 32)
    with open_log(path) as stream:
        (report,) = stream.verify(TOPIC, 0)
        assert (report.damage, report.unnamed_bytes) == ((), 26)


class LockedReads(QuietDisk):
    """Count the bytes that are read and written while the partition's lock is held."""

    def __init__(self):
        self.lock_fds = set()
        self.is_held = False
        self.held_bytes = self.times = 0

    def open(self, path, *, write=False, create=False):
        fd = super().open(path, write=write, create=create)
        self.lock_fds.discard(fd)
        if path.endswith("/0/lock"):
            self.lock_fds.add(fd)
        return fd

    def flock(self, fd, operation):
        Disk.flock(fd, operation)
        if fd in self.lock_fds:
            is_taken = operation & 8 == 0  # LOCK_UN
            self.times += is_taken
            self.is_held = is_taken

    def pread(self, fd, size, position):
        data = Disk.pread(fd, size, position)
        self.held_bytes += len(data) * self.is_held
        return data

    def pwrite(self, fd, data, position):
        self.held_bytes += len(data) * self.is_held
        return Disk.pwrite(fd, data, position)


@pytest.mark.parametrize("hurt", [0, -1])
def test_repair_holds_the_lock_for_a_few_entries_at_most(tmp_path, hurt):
    """This holds however large the partition is, and while a living writer goes on."""
    path = tmp_path / "log"
    values = [b"y" * 100] * 1000
    with open_log(path, segment_bytes=1_000_000) as stream, stream.producer() as producer:
        for _ in range(35):
            producer.send_many(TOPIC, values)
        base = stream.segments(TOPIC, 0)[hurt]
        with (partition_directory(path) / f"{base:020d}.jsonl").open("r+b") as file:
            file.seek(1234)
            file.write(b"?")
        disk = LockedReads()
        with open_log(path, disk) as operator:
            assert len(damage_of(operator)) == 1
            assert disk.times == 0, "verify takes the lock"
            (repair,) = operator.repair(TOPIC, 0)
            assert repair.given_up == 1
        assert disk.times == (hurt == -1)
        assert disk.held_bytes < 1000
        assert producer.send(TOPIC, b"goes on") == (0, 35_000)
        assert damage_of(stream) == []
        assert len(read_all(stream, max_records=5000).records) == 35_000


def test_a_writer_appends_all_through_a_repair(tmp_path):
    """The partition's lock is free at each step of the repair."""
    path = tmp_path / "log"
    bases = make_log(path, per_segment=2)

    class Watched(QuietDisk):
        sent = 0

        def copy_file(self, source, target):
            self.append()
            super().copy_file(source, target)

        def fdatasync(self, fd):
            self.append()

        def append(self):
            producer.send(TOPIC, b"meanwhile")
            Watched.sent += 1

    with open_log(path, lock_timeout_ms=200) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"first")
        for base in (bases[1], bases[-1]):
            index = partition_directory(path) / f"{base:020d}.index"
            data = bytearray(index.read_bytes())
            data[3] ^= 0xFF
            index.write_bytes(data)
        with open_log(path, Watched()) as operator:
            assert len(operator.repair(TOPIC, 0)) == 2
        assert Watched.sent >= 4
        assert damage_of(stream) == []
        reading = read_all(stream)
        assert sorted(reading.records.values()).count(b"meanwhile") == Watched.sent


def test_two_repairs_at_once_take_turns(tmp_path):
    path = tmp_path / "log"
    bases = make_log(path)
    delete(path, bases[1], "index", "jsonl")

    class Twice(QuietDisk):
        def copy_file(self, source, target):
            super().copy_file(source, target)
            fd = Disk().open(source.replace(".jsonl", ".index"), write=True)
            assert not Disk().try_lock(fd), "another repair may change it now"
            Disk().close(fd)

    with open_log(path, Twice()) as stream:
        assert len(stream.repair(TOPIC, 0)) == 1
        assert stream.repair(TOPIC, 0) == []
    shutil.rmtree(path)
