"""Check races of two operations: a disk runs the second one in the middle of the first."""

import pytest

from rdv.clock import SYSTEM_CLOCK
from rdv.stream import GroupTiming, StreamConfig, open_stream
from rdv.stream.errors import RecordsLost
from rdv.stream.file.backend import FileBackend
from rdv.stream.files import FileStream
from rdv.system.disk import Disk

TINY = StreamConfig(segment_bytes=1, retention_ms=None)


class Intruder(Disk):
    """Call `then` once, after the first listing of a directory whose path ends in `ending`."""

    def __init__(self):
        self.ending = None
        self.then = lambda: None

    def list_files(self, path):
        return self._listed(path, super().list_files(path))

    def list_directory(self, path):
        return self._listed(path, super().list_directory(path))

    def _listed(self, path, names):
        if self.ending is not None and path.endswith(self.ending):
            self.ending = None
            self.then()
        return names


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "stream")
    open_stream(path, config=TINY).close()
    return path


@pytest.fixture
def disk():
    return Intruder()


@pytest.fixture
def stream(path, disk):
    with FileStream(FileBackend(disk, path, TINY, SYSTEM_CLOCK), SYSTEM_CLOCK) as stream:
        yield stream


@pytest.fixture
def other(path):
    with open_stream(path) as stream:
        yield stream


def fill(stream, count):
    with stream.producer() as producer:
        for n in range(count):
            producer.send("t", b"%d" % n)


def test_a_member_may_leave_while_another_joins(stream, disk, other):
    leaving = other.consumer(["t"], group="g")
    # A leaving member gives its lease up after it has released the lock.
    disk.ending, disk.then = ".groups/g/leases", leaving._member._lease.close
    with stream.consumer(["t"], group="g") as joining:
        fill(stream, 1)
        assert len(joining.poll(timeout=30)) == 1


def test_an_arrow_range_that_is_purged_meanwhile_is_named_not_shortened(stream, disk, other):
    fill(stream, 10)
    for nth in range(6):
        listings = iter(range(nth))

        def purge(listings=listings):
            if next(listings, None) is None:
                other.purge("t", 0, before_offset=5)
            else:
                disk.ending = "/t/0"

        disk.ending, disk.then = "/t/0", purge
        try:
            values = stream.read_arrow("t", 0, 0, 10).to_pylist()
        except RecordsLost:
            continue
        assert values == [b"%d" % n for n in range(10)]


def test_a_reader_whose_segment_is_purged_during_the_read_gets_an_error(stream, disk, other):
    fill(stream, 10)
    with stream.consumer(["t"]) as consumer:
        disk.ending, disk.then = "/t/0", lambda: other.purge("t", 0, before_offset=5)
        with pytest.raises(RecordsLost) as caught:
            consumer.poll()
        assert (caught.value.first_offset, caught.value.last_offset) == (0, 4)
        assert consumer.poll(1)[0].offset == 5


def test_the_end_is_right_while_the_last_segment_but_one_is_purged(stream, disk, other):
    fill(stream, 10)
    disk.ending, disk.then = "/t/0", lambda: other.purge("t", 0, before_offset=10)
    assert stream.end("t") == 10
    assert stream.begin("t") == 9


def test_a_member_without_partitions_is_notified_of_changes_of_the_group(stream, other):
    timing = GroupTiming(60_000, 60_000)
    with other.consumer(["t"], group="g", timing=timing), open_stream(stream.address) as third:
        idle = third.consumer(["t"], group="g", timing=timing)
        assert idle.assignment() == []
        idle.fileno()
        idle.poll()
        idle.poll()
        assert idle._waiter._board.is_waiting(idle._waiter._slot)
        other._backend._board.changed()
        assert not idle._waiter._board.is_waiting(idle._waiter._slot)
        idle.close()


def test_waiting_consumers_are_notified_in_priority_order(stream, other, monkeypatch):
    priorities = (4, 2, 1, 3, 2)
    consumers = [other.consumer(["t"], start="latest") for _ in priorities]
    slots = {}
    for consumer, priority in zip(consumers, priorities, strict=True):
        consumer.wakeup_priority = priority
        consumer.fileno()
        while consumer.poll():
            pass
        slots[consumer._waiter._slot] = priority
    notified, slots_of_board = [], stream._backend._board._slots
    notify = slots_of_board.notify

    def note(slot):
        notified.append(slots[slot])
        notify(slot)

    monkeypatch.setattr(slots_of_board, "notify", note)
    with stream.producer() as producer:
        producer.send("t", b"x")
    assert notified == sorted(priorities)
    for consumer in consumers:
        assert len(consumer.poll()) == 1
        consumer.close()


class Watched(Disk):
    """Call `look` after every directory that is made and every rename."""

    look = staticmethod(lambda: None)

    def mkdir(self, path, **options):
        super().mkdir(path, **options)
        self.look()

    def rename(self, source, target):
        super().rename(source, target)
        self.look()


def test_a_topic_is_there_with_all_its_partitions_or_not_at_all(path, other):
    # A process that saw the topic half made would miss partition 3, or send a key to a wrong one.
    disk, seen = Watched(), set()
    with FileStream(FileBackend(disk, path, TINY, SYSTEM_CLOCK), SYSTEM_CLOCK) as stream:
        disk.look = lambda: seen.add((tuple(other.topics()), other._backend.partitions("new")))
        stream.make_topic("new", 4)
    assert seen == {((), 0), (("new",), 4)}


def test_leftovers_of_a_killed_creator_hinder_no_later_one(path, other):
    class Killed(Exception):
        pass

    class Dies(Disk):
        def rename(self, source, target):
            if target.endswith("/new"):
                raise Killed
            super().rename(source, target)

    backend = FileBackend(Dies(), path, TINY, SYSTEM_CLOCK)
    with FileStream(backend, SYSTEM_CLOCK) as stream, pytest.raises(Killed):
        stream.make_topic("new", 4)
    assert (other.topics(), other._backend.partitions("new")) == ([], 0)
    other.make_topic("new", 2)
    assert (other.topics(), other._backend.partitions("new")) == (["new"], 2)
