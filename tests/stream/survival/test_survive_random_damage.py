"""Damage a live stream at random: nothing wrong is read, nothing but an RdvError comes out.

Every reader goes on past what is lost, and one repair settles all of it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import socket
from contextlib import suppress

import pytest
from survival_disks import QuietDisk
from survival_logs import open_log

from rdv.errors import RdvError
from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost
from rdv.system.disk import Disk

PARTITIONS, PER_SEGMENT, TOPICS = 3, 20, ("t", "u")
PLACES = [(topic, number) for topic in TOPICS for number in range(PARTITIONS)]
POLLS = 4_000


def value(topic, partition, number):
    return b"%s-%d-%06d\n" % (topic.encode(), partition, number)


MISFITS = ("directory", "full directory", "FIFO", "socket", "link to nowhere", "loop", "device")


def place_misfit(path, kind):
    """Delete what is at `path`, and put something there that is neither a file nor a directory of
    the log.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        if kind.endswith("directory"):
            kind = "file"
    else:
        path.unlink(missing_ok=True)
    if kind == "file":
        path.write_bytes(b"no directory")
    elif kind.endswith("directory"):
        path.mkdir()
        if kind.startswith("full"):
            (path / "more").write_bytes(b"more")
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one, contextlib.chdir(path.parent):
            one.bind(path.name)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to(path.name if kind == "loop" else "nowhere/at/all")


class Damage:
    """Choose a fault, and do it to the files at `path`."""

    def __init__(self, path, turn):
        self.path, self.turn = path, turn
        self.done = []

    def directory(self):
        topic, partition = self.turn.choice(PLACES)
        return self.path / topic / str(partition)

    def files(self, *patterns):
        return sorted(itertools.chain(*(self.directory().glob(one) for one in patterns)))

    def file(self, *patterns):
        return self.turn.choice(self.files(*patterns) or [self.path / "t" / "0" / "lock"])

    def swap(self, one, other):
        aside = self.path.parent / "aside"
        one.rename(aside)
        other.rename(one)
        aside.rename(other)

    def swap_partitions(self):
        self.swap(self.directory(), self.directory())

    def swap_files(self):
        suffix = self.turn.choice(["*.index", "*.jsonl", "lock"])
        self.swap(self.file(suffix), self.file(suffix))

    def copy_file(self):
        suffix = self.turn.choice(["*.index", "*.jsonl", "lock"])
        source, target = self.file(suffix), self.file(suffix)
        shutil.copyfile(source, target)

    def replace_file(self):
        suffix = self.turn.choice(["*.index", "*.jsonl", "lock"])
        source, target = self.file(suffix), self.file(suffix)
        if source != target:
            source.replace(target)

    def delete_file(self):
        self.file("*.index", "*.jsonl", "lock", "clock").unlink()

    def delete_directory(self):
        shutil.rmtree(self.directory())

    def rename_directory(self):
        self.directory().rename(self.path / "t" / f"aside{self.turn.getrandbits(20)}")

    def rename_topic(self):
        self.swap(self.path / "t", self.path / "u")

    def cut(self):
        file = self.file("*.index", "*.jsonl", "lock")
        os.truncate(file, self.turn.randint(0, file.stat().st_size))

    def flip(self):
        file = self.file("*.index", "*.jsonl", "lock")
        data = bytearray(file.read_bytes())
        if data:
            at = self.turn.randrange(len(data))
            data[at : at + self.turn.choice([1, 32, 512])] = self.turn.randbytes(1)
        file.write_bytes(data)

    def sector(self):
        source, target = (self.file("*.index", "*.jsonl") for _ in range(2))
        data = source.read_bytes()[: 64 * self.turn.randint(1, 8)]
        with target.open("r+b") as file:
            file.seek(32 * self.turn.randint(0, 20))
            file.write(data)

    def grow(self):
        file = self.file("*.index", "*.jsonl", "lock")
        with file.open("ab") as target:
            target.write(self.turn.randbytes(self.turn.choice([5, 32, 640])))

    def board(self):
        board = self.path / ".doorbells" / "board"
        what = self.turn.choice(["delete", "cut", "garbage", "grow"])
        if what == "delete":
            board.unlink()
        else:
            size = self.turn.choice([0, 1, 8, 16, 527, 9743]) if what == "cut" else 9744
            size = 100_000 if what == "grow" else size
            board.write_bytes(board.read_bytes()[:16] + self.turn.randbytes(9728))
            os.truncate(board, size)

    def commits(self):
        files = sorted((self.path / ".groups").rglob("offsets/*/*"))
        if files:
            files[0].write_bytes(self.turn.randbytes(self.turn.choice([0, 3, 12])))

    def misfit(self):
        """Put something that is no file in the place of a file, or of a directory."""
        chosen = [
            self.file("*.index", "*.jsonl"),
            self.file("lock", "clock"),
            self.path / ".doorbells" / "board",
            self.path / ".doorbells" / "making",
            self.turn.choice(sorted(self.path.glob(".doorbells/[0-9]*")) or [self.path / "t"]),
            self.turn.choice([self.path / "t" / ".topic", self.path / "u" / ".topic"]),
            self.directory(),
            *self.turn.sample(sorted((self.path / ".groups").rglob("*")), 1),
        ]
        place_misfit(self.turn.choice(chosen), self.turn.choice(MISFITS))

    FAULTS = (
        swap_partitions, swap_files, copy_file, replace_file, delete_file, delete_directory,
        rename_directory, rename_topic, cut, flip, sector, grow, board, commits, misfit, misfit,
    )  # fmt: skip

    def do(self):
        fault = self.turn.choice(self.FAULTS)
        with suppress(OSError):
            self.done.append(fault.__name__)
            fault(self)


def read_on(consumer, wanted):
    """Read until nothing more comes, past what cannot be read; fail when that has no end."""
    idle = 0
    for _ in range(POLLS):
        try:
            records = consumer.poll(wanted)
        except RecordsDamaged as error:
            consumer.seek(error.topic, error.partition, error.last_offset + 1)  # never fails
            idle = 0
        except (RecordsLost, OffsetOutOfRange):
            idle = 0  # the next poll goes on
        except RdvError:
            idle += 1
        else:
            idle = 0 if records else idle + 1
            for record in records:
                # A renamed topic keeps its records under its new name.
                text = record.value[2:]
                assert text.startswith(b"%d-" % record.partition), record
        if idle > 2 * PARTITIONS:
            return
    raise AssertionError("the reader comes to no end")


def send(producer, turn, counts):
    for place in PLACES:
        for _ in range(turn.choice([0, 1, 30])):
            with suppress(RdvError):
                topic, partition = place
                producer.send(topic, value(topic, partition, counts[place]), partition=partition)
            counts[place] += 1


def look(stream, turn):
    """Call what asks about offsets; only errors of rdv may come out."""
    for place in PLACES:
        for call, *more in (
            (stream.begin,),
            (stream.end,),
            (stream.newest_ns,),
            (stream.offset_at, turn.getrandbits(62)),
            (stream.read_arrow,),
            (lambda *place: list(stream.verify(*place)),),
            (lambda *_: stream.lag("g"),),
        ):
            with suppress(RdvError):
                call(*place, *more)


@pytest.mark.parametrize("disk", [Disk, QuietDisk])
@pytest.mark.parametrize("seed", [*range(int(os.environ.get("RDV_DAMAGE_SEEDS", "4"))), 16])
def test_a_live_stream_goes_on_whatever_happens_to_its_files(tmp_path, disk, seed):
    path, turn = tmp_path / "log", random.Random(seed)
    damage, counts = Damage(path, turn), dict.fromkeys(PLACES, 0)
    size = len(value("t", 0, 0)) * PER_SEGMENT
    log = open_log(path, disk(), partitions=PARTITIONS, segment_bytes=size, lock_timeout_ms=300)
    with log as stream, open_log(path, disk()) as other:
        for topic in TOPICS:
            stream.make_topic(topic)
        with stream.producer() as producer:
            consumers = [stream.consumer(TOPICS), other.consumer(TOPICS, group="g")]
            for _ in range(6):
                send(producer, turn, counts)
                if turn.random() < 0.7:
                    for consumer in consumers:
                        read_on(consumer, turn.choice([1, 7, 500]))
                        with suppress(RdvError):
                            consumer.commit()
                for _ in range(turn.choice([1, 1, 2, 3])):
                    damage.do()
                look(other, turn)
                for consumer in consumers:
                    read_on(consumer, 500)
            for consumer in consumers:
                with suppress(RdvError):
                    consumer.close()
    settle(path, disk, damage.done)


def settle(path, disk, done):
    """Repair; then all that is there can be read, and written to."""
    with open_log(path, disk()) as stream:
        for topic in TOPICS:
            if topic not in stream.topics():
                continue
            for partition in range(stream.partitions(topic)):
                stream.repair(topic, partition)
            for partition in range(stream.partitions(topic)):
                assert stream.repair(topic, partition) == [], (done, topic, partition)
                told = [one for r in stream.verify(topic, partition) for one in r.damage]
                assert told == [], (done, told)
        with stream.producer() as producer:
            for topic, partition in PLACES:
                if topic in stream.topics() and partition < stream.partitions(topic):
                    end = stream.end(topic, partition)
                    sent = producer.send(topic, value(topic, partition, 0), partition=partition)
                    assert sent == (partition, end), (done, topic)
        with stream.consumer() as consumer:
            while True:
                try:
                    if not consumer.poll(500):
                        break
                except RecordsDamaged as error:
                    raise AssertionError(done) from error


def swap(path, one, other):
    for source, target in ((one, "aside"), (other, one), ("aside", other)):
        (path / source).rename(path / target)


@pytest.mark.parametrize("disk", [Disk, QuietDisk])
@pytest.mark.parametrize("when", ["before damage", "after damage", "at the end"])
def test_a_reader_goes_on_in_a_shorter_partition(tmp_path, disk, when):
    """Its offsets are beyond the end of the files that are there now."""
    path = tmp_path / "log"
    with open_log(path, disk(), partitions=2) as stream, stream.producer() as producer:
        for number in range(40):
            producer.send("t", b"%d\n" % number, partition=0)
        producer.send("t", b"short\n", partition=1)
        with stream.consumer(["t"], partitions=[0]) as consumer:
            if when != "at the end":
                file = path / "t" / "0" / f"{0:020d}.index"
                data = bytearray(file.read_bytes())
                data[30 * 32 : 33 * 32] = bytes(3 * 32)
                file.write_bytes(data)
                assert len(consumer.poll(500)) == 30
            else:
                assert len(consumer.poll(500)) == 40
            if when == "before damage":
                swap(path / "t", "0", "1")
            if when != "at the end":
                with pytest.raises(RecordsDamaged) as caught:
                    consumer.poll(500)
                assert caught.value.first_offset == 30
            if when != "before damage":
                swap(path / "t", "0", "1")
            if when != "at the end":
                consumer.seek("t", 0, caught.value.last_offset + 1)
            told, found = [], []
            for _ in range(40):
                try:
                    found += consumer.poll(500, timeout=0.02)
                except OffsetOutOfRange as error:
                    told.append(error.end)
            assert len(told) <= 1
            assert found == []
            assert consumer.positions() == {("t", 0): 1}
