"""Check what a reader is told of a damaged record, and what it can still read."""

import pytest

from rdv.stream import StreamConfig, open_stream
from rdv.stream.errors import RecordsDamaged

PER_SEGMENT = 5


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stream"


@pytest.fixture
def stream(path):
    config = StreamConfig(segment_bytes=PER_SEGMENT, retention_ms=None, partitions=2)
    with open_stream(str(path), config=config) as stream, stream.producer() as producer:
        for partition in range(2):
            for _ in range(3):
                producer.send_many("t", [b"x"] * PER_SEGMENT, partition=partition)
        yield stream


def hurt(path, offset):
    base, number = offset - offset % PER_SEGMENT, offset % PER_SEGMENT
    with (path / "t" / "0" / f"{base:020d}.jsonl").open("r+b") as file:
        file.seek(number)
        file.write(b"y")


@pytest.mark.parametrize("offset", range(3 * PER_SEGMENT))
def test_one_damaged_value_is_named_and_all_others_are_handed_out(stream, path, offset):
    hurt(path, offset)
    found = []
    with stream.consumer(["t"], partitions=[0]) as consumer:
        for _ in range(4):
            try:
                while records := consumer.poll():
                    found += [record.offset for record in records]
                break
            except RecordsDamaged as error:
                found.append((error.first_offset, error.last_offset))
                consumer.seek("t", 0, error.last_offset + 1)
    everything = list(range(3 * PER_SEGMENT))
    everything[offset] = (offset, offset)
    assert found == everything


@pytest.mark.parametrize("offset", [0, 3, 14])
def test_damage_in_one_partition_does_not_keep_others_from_being_read(stream, path, offset):
    hurt(path, offset)
    found, told = [], 0
    with stream.consumer(["t"]) as consumer:
        for _ in range(40):
            try:
                found += consumer.poll(2)
            except RecordsDamaged:
                told += 1
    assert told
    assert [r.offset for r in found if r.partition == 0] == list(range(offset))
    assert [r.offset for r in found if r.partition == 1] == list(range(3 * PER_SEGMENT))
