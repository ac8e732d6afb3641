"""Check that renamed, swapped, copied or deleted files are named, and settled by one repair."""

from __future__ import annotations

import itertools
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from survival_disks import QuietDisk
from survival_logs import open_log

from rdv.stream.errors import RecordsDamaged
from rdv.stream.file.checkpoint import MARK_AT

PARTITIONS, PER_SEGMENT, SEGMENTS = 3, 20, 4
RECORDS = PER_SEGMENT * (SEGMENTS - 1) + 5
few = settings(derandomize=True, deadline=None, database=None, max_examples=25)


def value(partition, offset):
    """Return a value: all are different, and all are of one length."""
    return b"%d-%05d\n" % (partition, offset)


def make_log(path):
    size = len(value(0, 0))
    stream = open_log(
        path, QuietDisk(), partitions=PARTITIONS, segment_bytes=PER_SEGMENT * size, fsync="none"
    )
    with stream, stream.producer() as producer:
        for partition, offset in itertools.product(range(PARTITIONS), range(RECORDS)):
            producer.send("t", value(partition, offset), partition=partition)
        assert len(stream.segments("t", 0)) == SEGMENTS


@pytest.fixture
def path(tmp_path):
    make_log(tmp_path / "log")
    return tmp_path / "log"


def damage(path, topic="t"):
    """Return all that verify names, as rdv stream verify does."""
    with open_log(path) as stream:
        return [
            one
            for partition in range(stream.partitions(topic))
            for report in stream.verify(topic, partition)
            for one in report.damage
        ]


def repair(path, topic="t"):
    with open_log(path) as stream:
        for partition in range(stream.partitions(topic)):
            stream.repair(topic, partition)
        again = [stream.repair(topic, partition) for partition in range(stream.partitions(topic))]
        assert again == [[]] * len(again), "it is settled at once"
    assert damage(path, topic) == []


def contents(path, topic="t"):
    """Return what is read of each partition, with None for what was given up."""
    with open_log(path) as stream:
        return [stream.read_arrow(topic, n).to_pylist() for n in range(stream.partitions(topic))]


WHOLE = [[value(partition, offset) for offset in range(RECORDS)] for partition in range(PARTITIONS)]


@pytest.mark.parametrize("gone", [[0], [1], [2], [0, 2], [0, 1, 2]])
def test_deleted_partition_directories_are_named_and_made_anew(path, gone):
    for partition in gone:
        shutil.rmtree(path / "t" / str(partition))
    told = damage(path)
    assert [(one.partition, "is missing" in one.reason) for one in told] == [
        (partition, True) for partition in gone
    ]
    repair(path)
    assert contents(path) == [[] if n in gone else WHOLE[n] for n in range(PARTITIONS)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(PARTITIONS)))[1:])
def test_swapped_partitions_are_put_back(path, order):
    for source, target in enumerate(order):
        (path / "t" / str(source)).rename(path / "t" / f"{target}.moving")
    for partition in range(PARTITIONS):
        (path / "t" / f"{partition}.moving").rename(path / "t" / str(partition))
    told = damage(path)
    assert {one.partition for one in told} == {n for n, target in enumerate(order) if n != target}
    for one in told:
        assert f"written as partition {order.index(one.partition)}" in one.reason
        assert (one.first_offset, one.last_offset) == (0, RECORDS - 1)
    repair(path)
    assert contents(path) == WHOLE


@pytest.mark.parametrize("name", ["7", "1.old", "aside"])
def test_a_renamed_partition_is_named_and_put_back(path, name):
    (path / "t" / "1").rename(path / "t" / name)
    reasons = {one.path.rsplit("/", 1)[-1]: one.reason for one in damage(path)}
    assert "is missing" in reasons["1"]
    assert "written as partition 1" in reasons[name]
    repair(path)
    assert contents(path) == WHOLE


def test_a_renamed_partition_that_was_begun_anew_is_set_aside(path):
    (path / "t" / "1").rename(path / "t" / "aside")
    with open_log(path) as stream, stream.producer() as producer:
        assert producer.send("t", b"new", partition=1) == (1, 0)
    assert ["written as partition 1" in one.reason for one in damage(path)] == [True]
    repair(path)
    assert contents(path) == [WHOLE[0], [b"new"], WHOLE[2]]
    assert len(list((path / "t" / "aside.broken").glob("*.index"))) == SEGMENTS


def test_a_copied_partition_is_set_aside(path):
    shutil.rmtree(path / "t" / "1")
    shutil.copytree(path / "t" / "0", path / "t" / "1")
    assert ["written as partition 0" in one.reason for one in damage(path)] == [True]
    repair(path)
    assert contents(path) == [WHOLE[0], [], WHOLE[2]]
    assert len(list((path / "t" / "1.broken").glob("*.index"))) == SEGMENTS


def test_a_renamed_topic_is_named_and_goes_on_under_its_new_name(path):
    (path / "t").rename(path / "u")
    told = damage(path, "u")
    assert [one.partition for one in told] == [0, 1, 2]
    assert all("written as topic 't'" in one.reason for one in told)
    with (
        open_log(path) as stream,
        stream.consumer(["u"]) as consumer,
        pytest.raises(RecordsDamaged),
    ):
        consumer.poll()
    repair(path, "u")
    assert contents(path, "u") == WHOLE
    with open_log(path) as stream, stream.producer() as producer:
        assert producer.send("u", b"new", partition=0) == (0, RECORDS)


def test_a_topic_of_an_earlier_version_has_the_partitions_that_are_seen(path):
    (path / "t" / ".topic").unlink()
    shutil.rmtree(path / "t" / "0")
    assert [one.partition for one in damage(path)] == [0]
    repair(path)
    with open_log(path) as stream:
        stream.make_topic("t")
    assert (path / "t" / ".topic").exists()


def names(path, partition=0):
    return sorted(file.stem for file in (path / "t" / str(partition)).glob("*.index"))


@given(st.data())
@few
def test_files_of_segments_that_were_permuted_are_put_back(tmp_path_factory, data):
    """Indexes, values or both are permuted among any of the segments: nothing is lost."""
    path = tmp_path_factory.mktemp("permuted") / "log"
    make_log(path)
    directory = path / "t" / "0"
    stems = names(path)
    chosen = data.draw(st.lists(st.sampled_from(stems), min_size=2, unique=True))
    order = data.draw(st.permutations(chosen))
    suffixes = data.draw(st.sampled_from([["index"], ["jsonl"], ["index", "jsonl"]]))
    for suffix in suffixes:
        for stem in chosen:
            (directory / f"{stem}.{suffix}").rename(directory / f"{stem}.moving")
        for stem, target in zip(chosen, order, strict=True):
            (directory / f"{stem}.moving").rename(directory / f"{target}.{suffix}")
    assert bool(damage(path)) == (order != chosen)
    repair(path)
    assert contents(path) == WHOLE
    shutil.rmtree(path)


@pytest.mark.parametrize("is_copy", [False, True])
@pytest.mark.parametrize("number", range(SEGMENTS))
def test_a_segment_under_another_base_is_put_back_or_set_aside(path, number, is_copy):
    directory = path / "t" / "0"
    stem = names(path)[number]
    for suffix in ("index", "jsonl"):
        source, target = directory / f"{stem}.{suffix}", directory / f"{27:020d}.{suffix}"
        shutil.copyfile(source, target) if is_copy else source.rename(target)
    told = damage(path)
    assert any(f"of the segment {int(stem)}:" in one.reason for one in told)
    repair(path)
    assert contents(path) == WHOLE
    assert len(list(directory.glob("*.broken"))) == (2 if is_copy else 0)


@pytest.mark.parametrize("kept", [(), ("lock",), ("lock", "jsonl")])
@pytest.mark.parametrize("has_read", [False, True])
def test_a_partition_without_any_index_is_settled(path, kept, has_read):
    if has_read:
        with open_log(path) as stream, stream.consumer(["t"], group="g") as consumer:
            while consumer.poll(500):
                pass
            consumer.commit()
    for file in (path / "t" / "0").iterdir():
        if file.name not in kept and file.suffix[1:] not in kept:
            file.unlink()
    is_known = has_read or kept
    assert [(one.first_offset, one.last_offset) for one in damage(path)] == (
        [(0, RECORDS - 1)] if is_known else []
    )
    repair(path)
    with open_log(path) as stream, stream.producer() as producer:
        offset = RECORDS if is_known else 0
        assert producer.send("t", b"new", partition=0) == (0, offset)
        assert read_topic(stream, 0) == [b"new"]


def read_topic(stream, partition):
    with stream.consumer(["t"], partitions=[partition]) as consumer:
        values = []
        while records := consumer.poll(500):
            values += [record.value for record in records]
        return values


def test_a_cut_that_a_group_has_read_beyond_is_named(path):
    with open_log(path) as stream, stream.consumer(["t"], group="g") as consumer:
        while consumer.poll(500):
            pass
        consumer.commit()
    directory = path / "t" / "0"
    last = max(directory.glob("*.index"))
    os.truncate(directory / "lock", MARK_AT)
    os.truncate(last, 2 * 32)
    first = PER_SEGMENT * (SEGMENTS - 1) + 2
    assert [(one.first_offset, one.last_offset) for one in damage(path)] == [(first, RECORDS - 1)]
    repair(path)
    with open_log(path) as stream, stream.producer() as producer:
        assert producer.send("t", b"new", partition=0) == (0, RECORDS)


@pytest.mark.parametrize("number", range(SEGMENTS - 1))
@pytest.mark.parametrize("entries", [1, 16])
def test_what_lies_behind_a_seal_hides_nothing(path, number, entries):
    index = path / "t" / "0" / f"{names(path)[number]}.index"
    with index.open("ab") as file:
        file.write(b"\x05" * 32 * entries)
    with open_log(path) as stream:
        found = read_topic(stream, 0)
        assert damage(path)
    assert found == WHOLE[0]
    repair(path)
    assert contents(path) == WHOLE


@pytest.mark.parametrize("number", range(SEGMENTS - 1))
def test_a_sector_over_the_seal_makes_no_segment_longer(path, number):
    """Entries of another partition may follow the place of the seal."""
    directory = path / "t" / "0"
    index = directory / f"{names(path)[number]}.index"
    with index.open("r+b") as file:
        file.seek(PER_SEGMENT * 32 - 64)
        file.write((path / "t" / "1" / index.name).read_bytes()[:512])
    repair(path)
    first = number * PER_SEGMENT + PER_SEGMENT - 2
    lost = {first, first + 1}
    with open_log(path) as stream:
        assert read_topic(stream, 0) == [v for n, v in enumerate(WHOLE[0]) if n not in lost]


@pytest.mark.parametrize("number", range(SEGMENTS))
def test_a_sector_at_the_beginning_of_an_index_costs_only_its_own_records(path, number):
    """The sector may cover most of a short index, and name another segment."""
    stems = names(path)
    index = path / "t" / "0" / f"{stems[number]}.index"
    other = path / "t" / "0" / f"{stems[number - 1 if number else 1]}.index"
    count = min(16, index.stat().st_size // 32 - 2)
    with index.open("r+b") as file:
        file.write(other.read_bytes()[: count * 32])
    repair(path)
    first = number * PER_SEGMENT
    lost = range(first, first + count)
    with open_log(path) as stream:
        assert stream.begin("t", 0) == 0
        assert read_topic(stream, 0) == [v for n, v in enumerate(WHOLE[0]) if n not in lost]


@pytest.mark.parametrize("is_swapped", [False, True])
def test_a_first_segment_that_is_set_aside_is_not_taken_for_deleted(path, is_swapped):
    directory, stems = path / "t" / "0", names(path)
    for suffix in ("index", "jsonl") if is_swapped else ("index",):
        shutil.copyfile(directory / f"{stems[1]}.{suffix}", directory / f"{stems[0]}.{suffix}")
    repair(path)
    with open_log(path) as stream:
        assert stream.begin("t", 0) == 0
        assert sum(report.lost for report in stream.verify("t", 0)) == PER_SEGMENT
        assert read_topic(stream, 0) == WHOLE[0][PER_SEGMENT:]


def test_a_partition_of_another_topic_is_set_aside_and_its_end_is_kept(path):
    with open_log(path) as stream, stream.producer() as producer:
        for offset in range(RECORDS):
            producer.send("u", value(0, offset), partition=0)
    shutil.rmtree(path / "t" / "0")
    shutil.copytree(path / "u" / "0", path / "t" / "0")
    assert {offset for one in damage(path) for offset in span(one)} == set(range(RECORDS))
    repair(path)
    with open_log(path) as stream, stream.producer() as producer:
        assert producer.send("t", b"new", partition=0) == (0, RECORDS)
        assert read_topic(stream, 0) == [b"new"]


def span(damage):
    return range(damage.first_offset, damage.last_offset + 1)


def test_a_foreign_index_in_front_of_a_deleted_last_one_hides_nothing(path):
    directory, stems = path / "t" / "0", names(path)
    shutil.copyfile(path / "t" / "1" / f"{stems[0]}.index", directory / f"{stems[-2]}.index")
    (directory / f"{stems[-1]}.index").unlink()
    first = PER_SEGMENT * (SEGMENTS - 2)
    assert {o for one in damage(path) for o in span(one)} == set(range(first, RECORDS))
    repair(path)
