"""Put a directory, a FIFO, a socket, a link to nowhere or a device in the place of each file.

What is rdv's own (lock, board, clock) is set aside and made anew. Data counts as missing: it is
named, passed over, and settled by one repair.
"""

from __future__ import annotations

import contextlib
import os

import pytest
from survival_children import call, say
from survival_disks import QuietDisk
from survival_logs import TOPIC, damage_of, open_log, read_all
from sweep import part_of
from test_survive_random_damage import MISFITS, place_misfit

from rdv.errors import RdvError
from rdv.stream import open_stream
from rdv.stream.errors import RecordsDamaged, StreamNotFound
from rdv.system.disk import Disk

pytestmark = pytest.mark.sweep

PER_SEGMENT, RECORDS = 5, 23
SCAFFOLDING = (
    "t/0/lock", "t/0/clock", "t/.topic", "t/.id", ".doorbells/board", ".doorbells/making",
    ".doorbells", ".groups/g/leases", ".groups/g/states", ".groups",
)  # fmt: skip


def some_scaffolding(kind, disk):
    """Return other files for each kind: each of them meets several kinds, and each kind several."""
    return part_of(SCAFFOLDING, 3, list(MISFITS).index(kind) + (disk is Disk))


def value(offset):
    return b"%05d\n" % offset


def make_log(path, disk):
    """Make a log of five segments whose group has read all of it."""
    size = len(value(0)) * PER_SEGMENT
    with (
        open_log(path, disk, segment_bytes=size, lock_timeout_ms=2_000) as stream,
        stream.producer() as producer,
    ):
        stream.make_topic(TOPIC)
        for offset in range(RECORDS):
            producer.send(TOPIC, value(offset))
        with stream.consumer([TOPIC], group="g") as consumer:
            while consumer.poll():
                pass
            consumer.commit()


def index(number, suffix="index"):
    return f"t/0/{number * PER_SEGMENT:020d}.{suffix}"


@pytest.mark.parametrize("disk", [Disk, QuietDisk])
@pytest.mark.parametrize("kind", MISFITS)
def test_what_is_in_the_place_of_scaffolding_is_set_aside(tmp_path, kind, disk):
    for name in some_scaffolding(kind, disk):
        path = tmp_path / name.replace("/", "-")
        make_log(path, disk())
        place_misfit(path / name, kind)
        with open_log(path, disk()) as stream:
            assert damage_of(stream) == [], name
            assert stream.repair(TOPIC, 0) == [], name
            with stream.producer() as producer:
                assert producer.send(TOPIC, value(RECORDS)) == (0, RECORDS), name
            with stream.consumer([TOPIC], group="g", start="earliest") as consumer:
                assert consumer.poll(timeout=5)[-1].offset == RECORDS or name == ".groups", name
                consumer.commit()
            assert read_all(stream).records == {n: value(n) for n in range(RECORDS + 1)}, name


@pytest.mark.parametrize("disk", [Disk, QuietDisk])
@pytest.mark.parametrize("kind", MISFITS)
def test_what_comes_into_the_place_of_scaffolding_stops_no_open_stream(tmp_path, kind, disk):
    for name in some_scaffolding(kind, disk):
        path = tmp_path / name.replace("/", "-")
        make_log(path, disk())
        with (
            open_log(path, disk()) as stream,
            stream.producer() as producer,
            stream.consumer([TOPIC]) as consumer,
        ):
            producer.send(TOPIC, value(RECORDS))
            while consumer.poll():
                pass
            place_misfit(path / name, kind)
            stream.make_topic("other")
            assert producer.send(TOPIC, value(RECORDS + 1))[1] == RECORDS + 1, name
            values = []
            for _ in range(20):
                values += [one.value for one in consumer.poll(timeout=0.3)]
                if value(RECORDS + 1) in values:
                    break
            assert values[-1:] == [value(RECORDS + 1)], name
        with open_log(path, disk()) as stream:
            assert damage_of(stream) == [], name


@pytest.mark.parametrize("suffix", ["index", "jsonl"])
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("kind", MISFITS)
def test_what_is_in_the_place_of_data_is_named_passed_over_and_settled(
    tmp_path, kind, number, suffix
):
    path = tmp_path / "log"
    make_log(path, QuietDisk())
    place_misfit(path / index(number, suffix), kind)
    gone = set(range(number * PER_SEGMENT, min(RECORDS, (number + 1) * PER_SEGMENT)))
    with open_log(path, QuietDisk()) as stream:
        named = {
            o for one in damage_of(stream) for o in range(one.first_offset, one.last_offset + 1)
        }
        assert named == gone if number or suffix == "jsonl" else named <= gone
        assert named
        assert any("no file is in its place" in one.reason for one in damage_of(stream)) or (
            number == 4
        )
        reading = read_all(stream)
        assert reading.records == {n: value(n) for n in range(RECORDS) if n not in gone}
        with stream.producer() as producer:
            assert producer.send(TOPIC, b"more\n") == (0, RECORDS)
        stream.repair(TOPIC, 0)
        assert stream.repair(TOPIC, 0) == []
        assert damage_of(stream) == []
        with stream.producer() as producer:
            assert producer.send(TOPIC, b"more\n") == (0, RECORDS + 1)
        with stream.consumer([TOPIC]) as consumer:
            found = [one.offset for one in consumer.poll()]
            while more := consumer.poll():
                found += [one.offset for one in more]
        assert found == [n for n in range(RECORDS + 2) if n not in gone]


@pytest.mark.parametrize("kind", MISFITS)
def test_lost_settings_are_written_anew_and_delete_nothing(tmp_path, kind):
    path = tmp_path / "log"
    make_log(path, QuietDisk())
    place_misfit(path / "stream.toml", kind)
    with pytest.raises(StreamNotFound):
        open_stream(str(path), create=False)
    with open_stream(str(path)) as stream:
        assert stream.config.retention_ms is None
        assert read_all(stream).records == {n: value(n) for n in range(RECORDS)}


@pytest.mark.parametrize("kind", MISFITS)
@pytest.mark.parametrize("what", ["states", "offsets", "leases"])
def test_a_group_goes_on_when_its_files_are_no_files(tmp_path, kind, what):
    path = tmp_path / "log"
    make_log(path, QuietDisk())
    with open_log(path, QuietDisk()) as stream, stream.producer() as producer:
        with stream.consumer([TOPIC], group="g") as consumer:
            producer.send(TOPIC, value(RECORDS))
            assert consumer.poll(timeout=2)
            for file in [one for one in (path / ".groups/g" / what).rglob("*") if one.is_file()]:
                place_misfit(file, kind)
            producer.send(TOPIC, value(RECORDS + 1))
            found = []
            for _ in range(20):
                with contextlib.suppress(RdvError):
                    found += consumer.poll(timeout=0.3)
                    consumer.commit()
                if found and stream.committed("g"):
                    break
            assert found[-1].offset == RECORDS + 1
            assert stream.committed("g") == {(TOPIC, 0): RECORDS + 2}
        assert stream.groups() == ["g"]


def use_unreadable_files(path):
    """Read and write as a user whose own files have the mode 0000."""
    with open_log(path) as stream:
        read_all(stream)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    with open_log(path) as stream, stream.producer() as producer:
        offset = producer.send(TOPIC, b"more")[1]
        say([offset, len(read_all(stream).records), len(damage_of(stream))])


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give up rights")
@pytest.mark.parametrize("name", ["t/0", "t/0/lock", index(1), index(4, "jsonl"), "t/.topic"])
def test_files_that_their_owner_cannot_read_are_made_readable(tmp_path, name):
    path = tmp_path / "log"
    make_log(path, QuietDisk())
    for place in [tmp_path, *tmp_path.parents]:
        if place == place.parent or place.owner() != "root" or place.name in ("tmp", ""):
            break
        place.chmod(0o755)
    for place in [path, *path.rglob("*")]:
        os.chown(place, 65534, 65534)
    (path / name).chmod(0)
    found = call("test_survive_misfits", "use_unreadable_files", str(path))
    assert found == [RECORDS, RECORDS + 1, 0]


def test_a_position_beyond_the_next_segment_is_read_there(tmp_path):
    """An index that has grown into the offsets of the next segment hides none of them."""
    path = tmp_path / "log"
    make_log(path, QuietDisk())
    with open_log(path, QuietDisk()) as stream, stream.consumer([TOPIC]) as consumer:
        assert len(consumer.poll(PER_SEGMENT - 2)) == PER_SEGMENT - 2
        file = path / index(0)
        data = file.read_bytes()
        file.write_bytes(data + data[-32:] * 9)
        consumer.seek(TOPIC, 0, PER_SEGMENT + 2)
        found = []
        with contextlib.suppress(RecordsDamaged):
            while more := consumer.poll():
                found += [one.offset for one in more]
        assert found == list(range(PER_SEGMENT + 2, RECORDS))
