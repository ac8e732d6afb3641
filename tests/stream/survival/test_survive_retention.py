"""Check segments deleted under slow readers: each loss is reported once and exactly."""

from __future__ import annotations

import os

import pytest
from survival_children import call, say
from survival_disks import KillingDisk, QuietDisk, StepDisk
from survival_logs import (
    TOPIC,
    damage_of,
    open_log,
    partition_directory,
    read_all,
    restore,
    snapshot,
)

from rdv.stream.errors import RecordsLost

PER_SEGMENT = 4


def value_of(number):
    return b"value %05d" % number


def fill(path, count, **settings):
    """Write `count` records in segments of four records each."""
    stream = open_log(path, QuietDisk(), segment_bytes=PER_SEGMENT * 11, **settings)
    producer = stream.producer()
    for number in range(count):
        assert producer.send(TOPIC, value_of(number)) == (0, number)
    return stream, producer


@pytest.mark.parametrize("taken", [0, 1, 3, 4, 6])
def test_a_slow_reader_gets_one_error_with_exactly_the_lost_offsets(tmp_path, taken):
    stream, producer = fill(tmp_path / "log", 22)
    with stream, producer, stream.consumer([TOPIC]) as consumer:
        got = [r.offset for r in consumer.poll(taken)] if taken else []
        while len(got) < taken:
            got += [r.offset for r in consumer.poll(taken - len(got))]
        stream.purge(TOPIC, 0, before_offset=16)
        losses = []
        for _ in range(40):
            try:
                got += [r.offset for r in consumer.poll(3)]
            except RecordsLost as error:
                losses.append((error.first_offset, error.last_offset))
        # The reader first reads the segment that it has open to its end.
        has_open = bool(taken)
        first_lost = -(-taken // PER_SEGMENT) * PER_SEGMENT if has_open else 0
        assert losses == [(first_lost, 15)]
        assert got == [*range(first_lost), *range(16, 22)]


def test_a_reader_goes_on_after_the_error_while_more_is_deleted(tmp_path):
    stream, producer = fill(tmp_path / "log", 40, retention_bytes=100)
    with stream, producer, stream.consumer([TOPIC], start="earliest") as consumer:
        seen, lost, number = [], [], 40
        while number < 400:
            try:
                seen += [(r.offset, r.value) for r in consumer.poll(2)]
            except RecordsLost as error:
                lost += range(error.first_offset, error.last_offset + 1)
            for _ in range(7):
                producer.send(TOPIC, value_of(number))
                number += 1
        begin = stream.begin(TOPIC, 0)
        assert all(value == value_of(offset) for offset, value in seen)
        offsets = sorted([offset for offset, _ in seen] + lost)
        assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
        assert lost
        assert begin > 0


def test_a_damaged_seal_does_not_doom_its_segment(tmp_path):
    """Damage must not make acknowledged records look old: retention is a week here."""
    path = tmp_path / "log"
    stream, producer = fill(path, 6)
    producer.close()
    stream.close()
    files = snapshot(partition_directory(path))
    name = f"{0:020d}.index"
    for hurt in range(32):
        data = bytearray(files[name])
        data[PER_SEGMENT * 32 + hurt] ^= 0xFF
        restore(partition_directory(path), {**files, name: bytes(data)})
        with open_log(path) as stream, stream.producer() as producer:
            for number in range(6, 14):
                producer.send(TOPIC, value_of(number))
            stream.purge(TOPIC, 0)
            assert read_all(stream).records == {n: value_of(n) for n in range(14)}


def test_a_segment_cut_short_is_not_old_either(tmp_path):
    path = tmp_path / "log"
    stream, producer = fill(path, 6)
    producer.close()
    stream.close()
    os.truncate(partition_directory(path) / f"{0:020d}.index", 0)
    with open_log(path) as stream:
        stream.purge(TOPIC, 0)
        assert stream.segments(TOPIC, 0) == [0, 4], "damage to be repaired has been deleted"


def purge_killed_everywhere(path):
    """SIGKILL a process at every change that a purge makes."""
    stream, producer = fill(path, 22)
    producer.close()
    files = snapshot(partition_directory(path))
    counting = StepDisk()
    with open_log(path, counting) as counted:
        counted.purge(TOPIC, 0, before_offset=16)
    for at in range(1, counting.count + 1):
        for when in ("before", "after"):
            restore(partition_directory(path), files)
            pid = os.fork()
            if pid == 0:
                with open_log(path, KillingDisk(at, when)) as doomed:
                    doomed.purge(TOPIC, 0, before_offset=16)
                os._exit(1)
            _, status = os.waitpid(pid, 0)
            assert os.WIFSIGNALED(status)
            with open_log(path) as survivor, survivor.producer() as again:
                begin = survivor.begin(TOPIC, 0)
                assert begin % PER_SEGMENT == 0
                assert begin <= 16
                reading = read_all(survivor, start=begin)
                assert reading.records == {n: value_of(n) for n in range(begin, 22)}
                assert damage_of(survivor) == []
                survivor.purge(TOPIC, 0, before_offset=16)
                assert survivor.begin(TOPIC, 0) == 16
                assert again.send(TOPIC, b"goes on") == (0, 22)
    stream.close()
    say(counting.count)


def test_a_purge_killed_at_any_change_leaves_a_sound_log(tmp_path):
    count = call("test_survive_retention", "purge_killed_everywhere", str(tmp_path / "log"))
    assert count >= 8
