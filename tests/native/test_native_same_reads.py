"""Check that a reader with the extension sees what Python sees, in sound and in damaged files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from fake_clock import FakeClock
from hypothesis import example, given
from hypothesis import strategies as st
from native_kit import PureDisk, Spy, files_of, make_reader, make_writer, quick, values_of

from rdv.errors import RdvError
from rdv.stream.backend import NOTHING
from rdv.stream.errors import RecordsDamaged
from rdv.system.disk import Disk

value = st.one_of(st.just(b""), st.binary(max_size=30), st.just(b"y" * 300))
batches = st.lists(st.lists(value, min_size=1, max_size=6), min_size=1, max_size=8)
limits = st.tuples(st.integers(1, 9), st.sampled_from([1, 10, 200, 10**6]))


def write(directory, some, segment_bytes):
    clock = FakeClock(10**18)
    writer = make_writer(directory, PureDisk(), clock, segment_bytes=segment_bytes)
    for values in some:
        clock.advance(1)
        writer.append(values)
    writer.close()
    return sum(map(len, some))


def told(error):
    said = [type(error).__name__, str(error)]
    if isinstance(error, RecordsDamaged):
        said += [error.path, error.first_offset, error.last_offset]
    return said


def drive(reader, start, steps, midway=lambda: None):
    """Return what a reader finds from `start` on, with these limits in turn, past any damage."""
    offset, met, idle, turn = start, [], 0, 0
    while idle < 3 and turn < 400:
        if turn == 2:
            midway()
        most, most_bytes = steps[turn % len(steps)]
        turn += 1
        try:
            block = reader.read(offset, most, most_bytes)
        except RdvError as error:
            met.append(told(error))
            idle += not isinstance(error, RecordsDamaged)
            if isinstance(error, RecordsDamaged):
                offset = error.last_offset + 1
            continue
        if not block:
            idle += 1
            if block is not NOTHING:
                offset = max(offset, reader.skip_to())
            continue
        idle = 0
        assert len(block) <= most
        offset = block.offsets[-1] + 1
        parts = block.offsets, block.timestamps_ns, block.stops
        met.append([*map(list, parts), block.data, block.topic, block.partition])
    reader.close()
    return met, offset


@quick
@given(batches, st.sampled_from([1, 60, 10**6]), st.data(), st.lists(limits, min_size=1))
def test_any_limits_from_any_offset_bring_the_same(native, some, segment_bytes, data, steps):
    with tempfile.TemporaryDirectory() as place:
        total = write(place, some, segment_bytes)
        start = data.draw(st.integers(0, total))
        ours = drive(make_reader(place), start, steps)
        assert ours == drive(make_reader(place, PureDisk()), start, steps)
    found = [value for met in ours[0] for value in cut(met)]
    assert found == [value for values in some for value in values][start:]


def cut(met):
    starts = [0, *met[2]]
    return [met[3][first:stop] for first, stop in zip(starts, met[2], strict=False)]


def hurt(directory, file, kind, at, how):
    names = sorted(set(files_of(directory)) - {"lock"})
    path = Path(directory, names[file % len(names)])
    data = bytearray(path.read_bytes())
    if not data:
        return
    if kind == "flip":
        data[at % len(data)] ^= how
        # Write in place: a reader that has the file open sees the change.
        with path.open("r+b") as opened:
            opened.write(data)
    else:
        with path.open("r+b") as opened:
            opened.truncate(at % len(data))


@quick
@given(
    batches,
    st.sampled_from([60, 10**6]),
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.sampled_from(["flip", "flip", "cut"]),
            st.integers(0, 10**4),
            st.integers(1, 255),
        ),
        min_size=1,
        max_size=2,
    ),
    st.lists(limits, min_size=1, max_size=4),
    st.booleans(),
)
@example([[b"abc"]] * 6, 10**6, [(0, "flip", 32 * 4 + 3, 1)], [(1, 10**6)], True)
@example([[b"abc"]] * 6, 10**6, [(0, "cut", 32 * 4 + 3, 1)], [(1, 10**6)], True)
@example([[b"abc"]] * 6, 10**6, [(1, "flip", 13, 1)], [(1, 10**6)], True)
def test_damage_anywhere_is_reported_alike_with_and_without_the_extension(
    native, some, segment_bytes, wounds, steps, is_late
):
    """The damage happens before the reader opens, or after its second read."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place, "partition")
        directory.mkdir()
        write(directory, some, segment_bytes)
        whole = {path: path.read_bytes() for path in directory.iterdir()}
        met = []
        for disk in (Disk(), PureDisk()):
            for path, data in whole.items():
                path.write_bytes(data)

            def wound():
                for one in wounds:
                    hurt(directory, *one)

            if not is_late:
                wound()
            met.append(drive(make_reader(directory, disk), 0, steps, wound if is_late else id_))
        assert met[0] == met[1]


def id_():
    """Do nothing."""


@pytest.mark.parametrize("disk", [Disk(), PureDisk()])
@pytest.mark.parametrize("most", [3, 500, 2048, 5000, 9000, 10**30])
def test_a_drained_reader_has_read_everything(disk, most, tmp_path):
    """A true `Reader.is_drained` must be right: a consumer does not look again then."""
    total = write(tmp_path, [[b"v"] * 10_001, [b"w"]], 10**8)
    for start in (0, 1, 777, total - 1):
        reader = make_reader(tmp_path, disk)
        offset = start
        for _ in range(9):
            block = reader.read(offset, most, 10**6)
            offset += len(block)
            assert offset == total or not reader.is_drained
            if not block:
                break
        reader.close()


def test_the_usual_read_is_done_natively(native, tmp_path):
    writer = make_writer(tmp_path)
    writer.append([b"one"])
    reader, spy = make_reader(tmp_path), Spy()
    assert reader.read(0, 9, 100).values() == [b"one"]
    reader._native = spy
    assert reader.read(1, 9, 100) is NOTHING
    assert reader.is_drained
    writer.append([b"two", b""])
    writer.append([b"three"])
    block = reader.read(1, 2, 100)
    assert (block.values(), list(block.offsets), reader.is_drained) == (
        [b"two", b""],
        [1, 2],
        False,
    )
    assert block.timestamps_ns[0] is block.timestamps_ns[1], "one append, one object"
    assert reader.read(3, 2, 100).values() == [b"three"]
    assert reader.is_drained
    assert (spy.done, spy.left) == (2, 1)


def test_an_index_that_was_cut_before_the_position_is_left_to_python(native, tmp_path):
    """At the end of the index there is nothing; before the position something is missing."""
    writer = make_writer(tmp_path)
    writer.append([b"one", b"two"])
    reader, spy = make_reader(tmp_path), Spy()
    assert reader.read(0, 9, 100).values() == [b"one", b"two"]
    reader._native = spy
    assert reader.read(2, 9, 100) is NOTHING
    assert reader.is_drained
    with next(tmp_path.glob("*.index")).open("r+b") as index:
        index.truncate(32)
    assert not reader.read(2, 9, 100)
    assert not reader.is_drained, "a consumer has to look again, as the index is shorter"
    assert (spy.done, spy.left) == (0, 2)


def test_a_partition_without_a_segment_is_drained_until_one_is_made(native, tmp_path):
    """An idle proxy's topic must not be searched for at every look of its readers."""
    reader = make_reader(tmp_path)
    assert not reader.read(0, 9, 100)
    assert reader.is_drained
    make_writer(tmp_path).append([b"one"])
    assert reader.read(0, 9, 100).values() == [b"one"]


def test_a_torn_entry_is_not_there_yet(native, tmp_path):
    write(tmp_path, [[b"a", b"b"], [b"c"]], 10**6)
    (tmp_path / "lock").unlink()  # it records where the index had ended
    (index,) = tmp_path.glob("*.index")
    data = index.read_bytes()
    index.write_bytes(data[:64])
    reader = make_reader(tmp_path)
    assert reader.read(0, 1, 100).values() == [b"a"]
    for size in range(64, 96):
        index.write_bytes(data[:size])
        assert not reader.read(2, 9, 100)
    index.write_bytes(data)
    assert reader.read(2, 9, 100).values() == [b"c"]
    assert values_of(tmp_path) == [b"a", b"b", b"c"]
