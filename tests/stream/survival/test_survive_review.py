"""Check bugs that a review has found."""

import os

import pytest
from survival_logs import TOPIC, damage_of, open_log
from survival_power import BootedDisk

from rdv.stream import StreamConfig, open_stream
from rdv.stream.errors import Fenced, RecordsDamaged, RecordsLost
from rdv.stream.file.checkpoint import MARK_AT
from rdv.system.disk import Disk

DIGITS = b"0123456789\n"


def test_an_idle_writer_does_not_bring_back_what_retention_took(tmp_path):
    path = str(tmp_path / "log")
    config = StreamConfig(segment_bytes=50, retention_bytes=400)
    with (
        open_stream(path, config=config) as one,
        open_stream(path) as other,
        one.producer() as busy,
        other.producer() as idle,
    ):
        assert idle.send(TOPIC, DIGITS) == (0, 0)
        for _ in range(100):
            _, last = busy.send(TOPIC, DIGITS)
        assert one.begin(TOPIC) > 2
        assert idle.send(TOPIC, DIGITS) == (0, last + 1)
        assert one.end(TOPIC) == last + 2
        with one.consumer([TOPIC], start=one.begin(TOPIC)) as consumer:
            seen = []
            while records := consumer.poll():
                seen += [record.offset for record in records]
        assert seen == list(range(one.begin(TOPIC), last + 2))


@pytest.mark.parametrize("address", ["file", "memory"])
def test_a_commit_for_a_topic_that_was_made_again_is_refused(tmp_path, address):
    place = str(tmp_path / "log") if address == "file" else f"memory:{tmp_path.name}"
    with open_stream(place) as stream, stream.producer() as producer:
        producer.send_many(TOPIC, [DIGITS] * 50)
        with stream.consumer([TOPIC], group="g") as consumer:
            assert len(consumer.poll()) == 50
            stream.delete_topic(TOPIC)
            producer.send_many(TOPIC, [DIGITS] * 30)
            with pytest.raises(Fenced):
                consumer.commit()
            seen = []
            while records := consumer.poll():
                seen += records
        assert len(seen) == 30


def test_a_loss_is_raised_before_the_records_behind_it(tmp_path):
    config = StreamConfig(partitions=2, segment_bytes=40)
    with open_stream(str(tmp_path / "log"), config=config) as stream, stream.producer() as producer:
        producer.send(TOPIC, DIGITS, partition=0)
        for _ in range(12):
            producer.send(TOPIC, DIGITS, partition=1)
        with stream.consumer([TOPIC]) as consumer:
            stream.purge(TOPIC, 1, before_offset=6)
            told = []
            for _ in range(10):
                try:
                    told += [(r.partition, r.offset) for r in consumer.poll()]
                except RecordsLost as error:
                    told.append(("lost", error.last_offset))
        at = told.index(("lost", stream.begin(TOPIC, 1) - 1))
        assert all(partition == 0 for partition, _ in told[:at])
        assert [offset for partition, offset in told[at + 1 :] if partition == 1] == list(
            range(stream.begin(TOPIC, 1), 12)
        )


def write_synced(root, count):
    log = open_log(root, BootedDisk(1), fsync="always", segment_bytes=10_000)
    with log as stream, stream.producer() as producer:
        for number in range(count):
            producer.send(TOPIC, b"%03d\n" % number)


def test_recovery_leaves_damage_of_what_was_synced_to_a_person(tmp_path):
    write_synced(tmp_path / "log", 10)
    (values,) = (tmp_path / "log" / TOPIC / "0").glob("*.jsonl")
    data = bytearray(values.read_bytes())
    data[9] ^= 255
    values.write_bytes(data)
    index = values.with_suffix(".index")
    entries = bytearray(index.read_bytes())
    entries[9 * 32] ^= 255
    index.write_bytes(entries)
    with open_log(tmp_path / "log", BootedDisk(2)) as stream, stream.producer() as producer:
        assert producer.send(TOPIC, b"next\n") == (0, 10)
        with stream.consumer([TOPIC]) as consumer:
            assert [r.offset for r in consumer.poll()] == [0, 1]
            with pytest.raises(RecordsDamaged):
                consumer.poll()


def test_recovery_does_not_begin_anew_where_synced_values_are_missing(tmp_path):
    write_synced(tmp_path / "log", 10)
    (values,) = (tmp_path / "log" / TOPIC / "0").glob("*.jsonl")
    values.unlink()
    with open_log(tmp_path / "log", BootedDisk(2)) as stream, stream.producer() as producer:
        _, offset = producer.send(TOPIC, b"next\n")
        assert offset >= 10
        with stream.consumer([TOPIC]) as consumer, pytest.raises(RecordsDamaged):
            consumer.poll()


def test_values_without_an_index_are_kept_and_their_offsets_not_used_again(tmp_path):
    """Nothing else records the end; without an index the values are counted as lines."""
    with open_log(tmp_path / "log", Disk()) as stream, stream.producer() as producer:
        producer.send_many(TOPIC, [DIGITS] * 5)
    (index,) = (tmp_path / "log" / TOPIC / "0").glob("*.index")
    index.unlink()
    os.truncate(index.parent / "lock", MARK_AT)
    with open_log(tmp_path / "log", Disk()) as stream, stream.producer() as producer:
        assert producer.send(TOPIC, b"n\n") == (0, 5)
        (damage,) = damage_of(stream)
        assert (damage.first_offset, damage.last_offset) == (0, 4)
    assert index.with_suffix(".jsonl").read_bytes() == DIGITS * 5


def test_a_released_writer_with_unsynced_records_is_still_synced_at_the_end(tmp_path):
    class Counting(Disk):
        syncs = 0

        def fdatasync(self, fd):
            Counting.syncs += 1
            super().fdatasync(fd)

    with open_log(
        tmp_path / "log", Counting(), fsync="interval", fsync_interval_ms=3_600_000
    ) as stream:
        with stream.producer() as producer:
            producer.send(TOPIC, DIGITS)
        assert Counting.syncs >= 2


def test_a_segment_that_is_made_while_the_reader_looks_for_it_is_not_lost(tmp_path):
    class LateDisk(Disk):
        """Fail the first opening of the second segment, as if it did not exist yet."""

        late = "00000000000000000005.index"

        def open(self, path, **how):
            if path.endswith(self.late):
                self.late = "nothing"
                raise FileNotFoundError(path)
            return super().open(path, **how)

    path = tmp_path / "log"
    with open_log(path, Disk(), segment_bytes=50) as stream, stream.producer() as producer:
        for _ in range(16):
            producer.send(TOPIC, DIGITS)
        assert stream.segments(TOPIC, 0) == [0, 5, 10, 15]
    with open_log(path, LateDisk()) as stream, stream.consumer([TOPIC]) as consumer:
        seen = []
        while records := consumer.poll():
            seen += [record.offset for record in records]
    assert seen == list(range(16))
