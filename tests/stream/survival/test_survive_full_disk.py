"""Check a disk that gets full in the middle of a batch: at every call, for one call or several."""

from __future__ import annotations

import errno
import resource

import pytest
from survival_children import call, say
from survival_damage import collect
from survival_disks import FaultyDisk, QuietDisk
from survival_logs import TOPIC, damage_of, open_log, partition_directory, read_all, restore
from survival_logs import snapshot as files_of

from rdv.stream.errors import DiskFull

BATCHES = [
    [b"one"],
    [b"two", b"", b"three" * 10],
    [b"a long value " * 15],
    [b"%d" % i * 9 for i in range(10)],
    [b""],
    [b"four" * 8, b"five"],
    [b"the last"],
]
SETTINGS = {"segment_bytes": 120, "lock_timeout_ms": 2000}


def send_all(producer, attempt):
    """Send every batch, again if the disk was full; return (offset or None, batch) of each try."""
    tries = []
    for batch in BATCHES:
        for _ in range(attempt):
            try:
                _, offset = producer.send_many(TOPIC, batch)
            except DiskFull as error:
                check_error(error)
                tries.append((None, batch))
            else:
                tries.append((offset, batch))
                break
        else:
            raise AssertionError("writing does not go on though there is room")
    return tries


def check_error(error):
    assert f"/{TOPIC}/0" in error.path
    assert "cannot write to" in str(error)


def check_log(path, tries):
    """Check that acknowledged batches are in place, and of failed ones at most leading parts."""
    with open_log(path, QuietDisk()) as stream:
        assert damage_of(stream) == []
        reading = read_all(stream)
        assert not reading.damage
    values = [reading.records[offset] for offset in range(reading.end)]
    position = 0
    for offset, batch in tries:
        if offset is None:
            position += _leading(values[position:], batch, tries, position)
        else:
            assert offset == position, f"a batch was acknowledged at {offset}, not {position}"
            assert values[offset : offset + len(batch)] == batch
            position += len(batch)
    assert position == len(values), "there are records that nobody sent"


def _leading(values, batch, tries, position):
    """Return how many values of a failed batch are there: up to the next acknowledged offset."""
    stop = min((o for o, _ in tries if o is not None and o >= position), default=None)
    room = len(values) if stop is None else stop - position
    pairs = zip(values[:room], batch, strict=False)
    return next(
        (n for n, (found, sent) in enumerate(pairs) if found != sent), min(room, len(batch))
    )


@pytest.mark.parametrize("leading", [0.0, 0.4])
@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("fsync", ["none", "always"])
def test_no_room_at_any_call_loses_nothing_and_writing_goes_on(tmp_path, fsync, length, leading):
    path = tmp_path / "log"
    with open_log(path, fsync=fsync, **SETTINGS) as stream:
        stream.make_topic(TOPIC, 1)
    empty = files_of(partition_directory(path))
    total = len(_calls(path, empty))
    assert total > 20

    def check(at):
        restore(partition_directory(path), empty)
        disk = FaultyDisk(errno.ENOSPC, leading=leading)
        with open_log(path, disk) as stream, stream.producer() as producer:
            disk.plan(at, length)
            tries = send_all(producer, length + 2)
            check_log(path, tries)
        assert disk.failed, "the fault was not met"
        # A tick, a mark or a note of the time that cannot be written is no reason to refuse what is
        # committed.
        hurts = any(not file.startswith(("board", "clock", "mark")) for _, file in disk.failed)
        assert any(offset is None for offset, _ in tries) == hurts
        check_log(path, tries)

    collect((f"call {at}", lambda at=at: check(at)) for at in range(1, total + 1))


def _calls(path, empty):
    """Return all writes of a run without a fault."""
    restore(partition_directory(path), empty)
    disk = FaultyDisk()
    with open_log(path, disk) as stream, stream.producer() as producer:
        disk.plan(0, 0)
        send_all(producer, 1)
    return [name for name, _ in disk.log if name in ("pwrite", "create")]


def test_what_a_full_disk_leaves_is_readable_at_once_by_others(tmp_path):
    path = tmp_path / "log"
    disk = FaultyDisk(errno.ENOSPC, leading=0.5)
    stream = open_log(path, disk, **SETTINGS)
    producer = stream.producer()
    producer.send(TOPIC, b"acknowledged")
    tries = [(0, [b"acknowledged"])]
    for _ in range(4):
        disk.plan(2, 1)
        with pytest.raises(DiskFull):
            producer.send_many(TOPIC, [b"a", b"b", b"c", b"d"])
        tries.append((None, [b"a", b"b", b"c", b"d"]))
        check_log(path, tries)
    producer.close()
    stream.close()


def write_under_a_size_limit(path, limit_bytes):
    """Let files grow to `limit_bytes` at most for a while (EFBIG, and SIGXFSZ ignored)."""
    stream = open_log(path)
    producer = stream.producer()
    acknowledged = [producer.send(TOPIC, b"first")[1]]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    text = ""
    try:
        while True:
            producer.send_many(TOPIC, [b"x" * 100] * 7)
            acknowledged.append(1 + 7 * (len(acknowledged) - 1))
    except DiskFull as error:
        text = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    say([acknowledged[-1] + 7, text, producer.send(TOPIC, b"room again")[1]])


@pytest.mark.parametrize("limit_bytes", [5000, 12_345, 20_000])
def test_a_file_size_limit_is_a_full_disk(tmp_path, limit_bytes):
    path = tmp_path / "log"
    open_log(path).close()
    acknowledged, text, offset = call(
        "test_survive_full_disk", "write_under_a_size_limit", str(path), limit_bytes
    )
    assert "cannot write to" in text
    assert acknowledged <= offset <= acknowledged + 7
    with open_log(path) as stream:
        assert damage_of(stream) == []
        records = read_all(stream).records
    assert len(records) == offset + 1
    assert records.pop(0) == b"first"
    assert records.pop(offset) == b"room again"
    assert set(records.values()) == {b"x" * 100}


@pytest.fixture
def place(tmp_path):
    """Return a file system of 256 KiB, or a plain directory where mounting is not allowed."""
    from small_disk import small_disk  # children of these tests import this module without it

    with small_disk(tmp_path / "small", "256k") as disk:
        yield tmp_path if disk is None else disk.outside


def send_for_ever(producer, batch, counts):
    while True:
        _, offset = producer.send_many(TOPIC, batch)
        assert offset == counts[-1]
        counts.append(offset + len(batch))


@pytest.mark.parametrize("size", [1, 10, 300])
def test_a_really_full_disk_is_an_error_and_purging_makes_room(place, size):
    path = place / "log"
    is_mounted = place.is_mount()
    disk = QuietDisk() if is_mounted else FaultyDisk(leading=0.3)
    value = b"v" * (30_000 // size // 10)
    with open_log(path, disk, segment_bytes=20_000) as stream, stream.producer() as producer:
        if not is_mounted:
            disk.plan(50, 10)
        counts = [0]
        with pytest.raises(DiskFull):
            send_for_ever(producer, [value] * size, counts)
        count = counts[-1]
        for _ in range(3):  # A full disk stays full, and each send raises.
            try:
                producer.send_many(TOPIC, [value] * size)
            except DiskFull:
                continue
        end = stream.end(TOPIC, 0)
        assert end >= count
        assert damage_of(stream) == []
        reading = read_all(stream)
        assert set(reading.records) == set(range(end))
        assert set(reading.records.values()) == {value}
        stream.purge(TOPIC, 0, before_offset=end)
        if not is_mounted:
            disk.plan(0, 0)
        assert producer.send(TOPIC, b"room again")[1] == end
        assert read_all(stream, start=stream.begin(TOPIC, 0)).records[end] == b"room again"
        assert damage_of(stream) == []
