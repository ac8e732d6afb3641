"""Check records that lie at another place: swapped, repeated, removed, or from another file."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from survival_disks import QuietDisk
from survival_logs import open_log, restore, snapshot

from rdv.errors import RdvError
from rdv.stream.errors import RecordsDamaged
from rdv.system.disk import Disk

ENTRY, SECTOR = 32, 512
PER_SEGMENT, RECORDS = 64, 150
PLACES = [("t", 0), ("t", 1), ("u", 0)]
NAMES = [f"{base:020d}" for base in (0, PER_SEGMENT, 2 * PER_SEGMENT)]
few = settings(derandomize=True, deadline=None, database=None, max_examples=15)


def value(topic, partition, offset):
    """Return a value of fixed length: only their places tell values apart."""
    return b"%s%d%05d\n" % (topic.encode(), partition, offset)


def make_log(path):
    """Make three partitions of three segments each; return their files."""
    size = len(value("t", 0, 0))
    stream = open_log(path, QuietDisk(), partitions=2, segment_bytes=PER_SEGMENT * size)
    stream._backend._clock = FakeClock(tick_ns=1_000)
    with stream, stream.producer() as producer:
        for topic, partition in PLACES:
            for offset in range(RECORDS):
                producer.send(topic, value(topic, partition, offset), partition=partition)
            assert len(stream.segments(topic, partition)) == 3
    return {place: snapshot(directory(path, place)) for place in PLACES}


def directory(path, place):
    return Path(path) / place[0] / str(place[1])


@pytest.fixture(scope="module")
def log():
    place = Path(tempfile.mkdtemp())
    yield place / "log", make_log(place / "log")
    shutil.rmtree(place)


def check(path, disk, most, start):
    """Check that nothing wrong is read from `start` on, and that what is not read is named."""
    with open_log(path, disk) as stream:
        for topic, partition in PLACES:
            seen = set()
            with stream.consumer([topic], partitions=[partition], start=start) as consumer:
                while True:
                    try:
                        records = consumer.look(most)
                    except RecordsDamaged as error:
                        seen |= set(range(error.first_offset, error.last_offset + 1))
                        consumer.seek(topic, partition, error.last_offset + 1)
                        continue
                    for record in records:
                        assert record.value == value(topic, partition, record.offset), record
                        seen.add(record.offset)
                    position = next(iter(consumer.positions().values()))
                    if not records and position >= RECORDS:
                        break
            assert set(range(start, RECORDS)) <= seen
            for low in range(0, RECORDS, 39):
                try:
                    values = stream.read_arrow(topic, partition, low, min(low + 39, RECORDS))
                except RecordsDamaged:
                    continue
                assert values.to_pylist() == [
                    value(topic, partition, n) for n in range(low, min(low + 39, RECORDS))
                ]


def damaged_places(path):
    with open_log(path) as stream:
        return {place for place in PLACES if any(report.damage for report in stream.verify(*place))}


def put_back(path, files):
    for place in PLACES:
        restore(directory(path, place), files[place])


def one_entry(draw, index):
    """Return the index with entries swapped, repeated or removed."""
    count = len(index) // ENTRY
    entries = [index[n * ENTRY : (n + 1) * ENTRY] for n in range(count)]
    a, b = draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True))
    how = draw(st.sampled_from(["swap", "copy", "repeat", "remove", "reverse"]))
    if how == "swap":
        entries[a], entries[b] = entries[b], entries[a]
    elif how == "copy":
        entries[a] = entries[b]
    elif how == "repeat":
        entries.insert(a, entries[b])
    elif how == "remove":
        del entries[a]
    else:
        entries[min(a, b) : max(a, b) + 1] = entries[min(a, b) : max(a, b) + 1][::-1]
    return b"".join(entries)


@few
@given(st.data())
def test_entries_at_other_places_are_noticed(log, data):
    path, files = log
    put_back(path, files)
    place, name = data.draw(st.sampled_from(PLACES)), data.draw(st.sampled_from(NAMES[:2]))
    file = directory(path, place) / f"{name}.index"
    file.write_bytes(one_entry(data.draw, file.read_bytes()))
    assert damaged_places(path) == {place}
    start = data.draw(st.integers(0, RECORDS - 1))
    for disk in (Disk(), QuietDisk()):
        check(path, disk, data.draw(st.sampled_from([1, 7, 500])), start)
    with open_log(path) as stream:
        assert stream.repair(*place)
        assert stream.repair(*place) == []
        found = stream.read_arrow(*place).to_pylist()
    expected = [value(*place, offset) for offset in range(RECORDS)]
    assert all(got in (None, wanted) for got, wanted in zip(found, expected, strict=True))
    # Each entry holds its offset: at most what was overwritten is lost.
    assert found.count(None) <= 1


@few
@given(st.data())
def test_a_sector_of_another_place_is_noticed(log, data):
    path, files = log
    put_back(path, files)
    source, target = (data.draw(st.sampled_from(PLACES)) for _ in range(2))
    source_name, target_name = (data.draw(st.sampled_from(NAMES[:2])) for _ in range(2))
    source_at = data.draw(st.integers(0, PER_SEGMENT * ENTRY // SECTOR - 1))
    target_at = source_at
    if (source, source_name) == (target, target_name):
        target_at = (source_at + data.draw(st.integers(1, 3))) % 4
    sector = files[source][f"{source_name}.index"][source_at * SECTOR :][:SECTOR]
    with (directory(path, target) / f"{target_name}.index").open("r+b") as file:
        file.seek(target_at * SECTOR)
        file.write(sector)
    assert damaged_places(path) == {target}
    for disk in (Disk(), QuietDisk()):
        check(path, disk, data.draw(st.sampled_from([1, 7, 500])), data.draw(st.integers(0, 149)))


@few
@given(st.data())
def test_swapped_files_are_noticed(log, data):
    path, files = log
    put_back(path, files)
    all_files = [(place, name) for place in PLACES for name in NAMES]
    one, other = data.draw(st.lists(st.sampled_from(all_files), min_size=2, max_size=2,
                                    unique=True))  # fmt: skip
    suffixes = data.draw(st.sampled_from([["index"], ["jsonl"], ["index", "jsonl"]]))
    for suffix in suffixes:
        for (place, name), (source, source_name) in ((one, other), (other, one)):
            data_of = files[source][f"{source_name}.{suffix}"]
            (directory(path, place) / f"{name}.{suffix}").write_bytes(data_of)
    assert damaged_places(path) == {one[0], other[0]}
    for disk in (Disk(), QuietDisk()):
        check(path, disk, data.draw(st.sampled_from([1, 7, 500])), data.draw(st.integers(0, 149)))


def test_no_misplaced_time_is_handed_out(log):
    """A look-up by time passes over an entry that is not of its offset."""
    path, files = log
    put_back(path, files)
    turn = random.Random(3)
    with open_log(path) as stream:
        times = [stream.offset_at("t", 0, 0)] + [
            record.timestamp_ns for record in stream.consumer(["t"], partitions=[0]).poll(RECORDS)
        ]
        del times[0]
        for _ in range(20):
            put_back(path, files)
            file = directory(path, ("t", 0)) / f"{NAMES[0]}.index"
            a, b = turn.sample(range(PER_SEGMENT), 2)
            data = bytearray(file.read_bytes())
            data[a * ENTRY : (a + 1) * ENTRY] = data[b * ENTRY : (b + 1) * ENTRY]
            file.write_bytes(data)
            for offset in turn.sample(range(PER_SEGMENT), 10):
                found = stream.offset_at("t", 0, times[offset])
                # The found record may be the one that borrows the time of the next, or the one in
                # front of it.
                assert found in (offset, a, a + 1 if offset == a else offset)


def test_a_disk_without_the_extension_sees_what_the_extension_sees(log):
    """The errors, too, are the same."""
    path, files = log
    put_back(path, files)
    file = directory(path, ("t", 0)) / f"{NAMES[0]}.index"
    data = bytearray(file.read_bytes())
    data[320:352], data[352:384] = data[352:384], data[320:352]
    file.write_bytes(data)
    told = []
    for disk in (Disk(), QuietDisk()):
        with open_log(path, disk) as stream, stream.consumer(["t"], partitions=[0]) as consumer:
            assert len(consumer.poll(500)) == 10
            with pytest.raises(RdvError) as caught:
                consumer.poll(500)
            told.append(str(caught.value))
    assert told[0] == told[1]
    assert "belongs to another offset" in told[0]
