"""Check that the extension writes the same files as Python, byte by byte."""

from __future__ import annotations

import tempfile
from pathlib import Path
from zlib import crc32

import pytest
from fake_clock import FakeClock
from hypothesis import example, given
from hypothesis import strategies as st
from native_kit import PureDisk, Spy, damage_of, files_of, make_writer, quick, values_of

from rdv.stream.errors import DiskFault
from rdv.stream.file.entry import codec_of, unpack_entries
from rdv.stream.file.layout import identity
from rdv.system.disk import Disk

value = st.one_of(st.just(b""), st.binary(max_size=40), st.just(b"x" * 700))
batch = st.one_of(
    st.lists(value, min_size=1, max_size=6),
    st.lists(value, min_size=1, max_size=6),
    st.integers(510, 515).map(lambda count: [b"%d" % i for i in range(count)]),
)
clock_step = st.sampled_from([0, 1, 5, 10**6, 3 * 10**9, -7, -(10**9)])
file = st.sampled_from([".index", ".jsonl"])
event = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 1), clock_step, batch),
    st.tuples(st.just("send"), st.integers(0, 1), clock_step, batch),
    st.tuples(st.just("send"), st.integers(0, 1), clock_step, batch),
    st.tuples(st.just("torn"), file, st.binary(min_size=1, max_size=31)),
    st.tuples(st.just("cut"), file, st.integers(1, 70)),
    st.tuples(st.just("reopen"), st.integers(0, 1)),
)  # fmt: skip


def play(directory, disk, events, settings):
    """Run two writers of one partition, and damage its tail as killed writers or an editor may."""
    clock, spies = FakeClock(10**18), [Spy(), Spy()]
    writers = [make_writer(directory, disk, clock, **settings) for _ in range(2)]
    for writer, spy in zip(writers, spies, strict=True):
        if writer._native is not None:
            writer._native = spy
    offsets = []
    for kind, *what in events:
        if kind == "send":
            who, step, values = what
            clock.advance(step)
            offsets.append(writers[who].append(values))
        elif kind == "reopen":
            writers[what[0]].release()
        elif files := sorted(directory.glob(f"*{what[0]}")):
            data = files[-1].read_bytes()
            if kind == "torn":
                files[-1].write_bytes(data + what[1])
            else:
                files[-1].write_bytes(data[: max(0, len(data) - what[1])])
    for writer in writers:
        writer.close()
    return offsets, spies


@quick
@given(
    st.lists(event, min_size=1, max_size=14),
    st.sampled_from([1, 100, 900, 10**6]),
    st.sampled_from([None, 8_000, 60_000]),
)
@example([("send", n % 2, 1, [b"a", b""]) for n in range(8)], 10**6, None)
@example([("send", 0, 0, [b"a"]), ("send", 1, -5, [b"b"]), ("send", 0, -5, [b"c"])], 10**6, None)
@example([("send", 0, 10**9, [b"a"])] * 5, 10**6, 8_000)
def test_the_same_events_leave_the_same_files(native, events, segment_bytes, retention_ms):
    settings = {"segment_bytes": segment_bytes, "retention_ms": retention_ms}
    with tempfile.TemporaryDirectory() as place:
        # The index is checked against the names of topic and partition.
        ours, theirs = Path(place, "native", "t", "0"), Path(place, "pure", "t", "0")
        offsets, _ = play(ours, Disk(), events, settings)
        assert (offsets, files_of(ours)) == (
            play(theirs, PureDisk(), events, settings)[0],
            files_of(theirs),
        )


def test_the_usual_append_is_done_natively(native, tmp_path):
    events = [("send", 0, 1, [b"a", b"", b"c"])] * 5 + [("send", 1, 1, [b"d"] * 1024)] * 3
    events += [("send", 0, 1, [b"behind the other's"])]
    _, spies = play(tmp_path / "p", Disk(), events, {})
    # The first append of each writer opens the files.
    assert [(spy.done, spy.left) for spy in spies] == [(5, 0), (2, 0)]


def test_more_values_than_the_extension_takes_are_appended_all_the_same(native, tmp_path):
    sent = [b"%d" % i for i in range(1025)]
    _, (spy, _) = play(tmp_path, Disk(), [("send", 0, 1, sent), ("send", 0, 1, sent)], {})
    assert (spy.done, spy.left) == (0, 1)
    assert values_of(tmp_path) == sent * 2


@quick
@given(st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=20), min_size=1, max_size=4))
def test_every_crc_is_zlibs(native, batches):
    with tempfile.TemporaryDirectory() as place:
        writer, spy = make_writer(place, clock=FakeClock(17)), Spy()
        writer.append([b"opens the files"])
        writer._native = spy
        for values in batches:
            writer.append(values)
        writer.close()
        assert spy.done == len(batches)
        index = next(Path(place).glob("*.index")).read_bytes()
        codec = codec_of(identity(place), 0)
    end = crc = 0
    sent = [b"opens the files", *(value for values in batches for value in values)]
    for number, (found, data) in enumerate(zip(unpack_entries(index), sent, strict=True)):
        end, crc = end + len(data), crc32(data, crc)
        check = crc32(index[number * 32 : number * 32 + 28], codec.start) ^ codec.mask
        assert found == (end, 17, len(data), crc, codec.word(number), check)


def test_a_partition_whose_clock_went_back_never_runs_backwards(native, tmp_path):
    clocks = [FakeClock(1000), FakeClock(5)]
    writers = [make_writer(tmp_path, clock=clock) for clock in clocks]
    spies = [Spy(), Spy()]
    for writer, spy in zip(writers, spies, strict=True):
        writer.append([b"opens"])
        writer._native = spy
    for number in range(6):
        clocks[0].advance(number == 3)
        writers[number % 2].append([b"x"])
    assert [spy.done for spy in spies] == [3, 3]
    entries = unpack_entries(next(tmp_path.glob("*.index")).read_bytes())
    assert [entry[1] for entry in entries] == [1000] * 6 + [1001] * 2


@pytest.mark.parametrize("damaged", [False, True])
def test_no_age_is_too_old(native, tmp_path, damaged):
    """Neither a retention of 30,000 years nor a nonsensical first time stops writing."""
    settings = {"retention_ms": 10**15}
    writer = make_writer(tmp_path, **settings)
    writer.append([b"one"])
    if damaged:
        writer.append([b"two"])
        (index,) = tmp_path.glob("*.index")
        data = bytearray(index.read_bytes())
        data[8:16] = (2**63 - 1).to_bytes(8, "little")
        index.write_bytes(data)
        settings = {}
    writer.close()
    writer, spy = make_writer(tmp_path, **settings), Spy()
    writer._native = spy
    for _ in range(3):
        writer.append([b"more"])
    assert spy.done == 2


def test_python_waits_for_the_holder_of_the_lock(native, tmp_path):
    writer, spy = make_writer(tmp_path, lock_timeout_ms=30), Spy()
    writer.append([b"one"])
    writer._native = spy
    disk = Disk()
    held = disk.open(str(tmp_path / "lock"), write=True)
    assert disk.try_lock(held)
    with pytest.raises(Exception, match="lock"):
        writer.append([b"two"])
    assert (spy.done, spy.left) == (0, 1)
    # A helper may wait for the lock now, on the same open file, which only Python knows.
    disk.close(held)
    assert writer.append([b"three"]) == 1
    assert writer.append([b"four"]) == 2
    assert values_of(tmp_path) == [b"one", b"three", b"four"]
    probe = disk.open(str(tmp_path / "lock"), write=True)
    assert disk.try_lock(probe), "the lock was not given back"
    disk.close(probe)


def test_the_lock_is_given_back_whatever_happens(native, tmp_path):
    """The flock is free after a write, an append left to Python, and a failure."""
    disk = Disk()
    values, index = (disk.open(str(tmp_path / n), write=True, create=True) for n in "vi")
    readonly = disk.open(str(tmp_path / "i"))
    ours, other = (disk.open(str(tmp_path / "lock"), write=True, create=True) for _ in "ab")

    def append(values_fd, index_fd, index_size=0, end_max=100):
        end = (ours, values_fd, index_fd, [b"x"], index_size, 0, 0, 0, 5, end_max, 100, 100, 0)
        try:
            return native.append(*end)
        finally:
            assert disk.try_lock(other)
            disk.unlock(other)

    assert append(values, index, end_max=0) is None
    assert append(values, index, index_size=32) is None
    assert append(-1, index) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        append(values, readonly)
    assert disk.size(index) == 0
    assert append(values, index) == (0, 1, crc32(b"x"), 5)
    assert disk.try_lock(other)
    assert native.append(ours, values, index, [b"x"], 32, 1, 0, 0, 5, 100, 100, 100, 0) is None
    disk.unlock(other)
    for fd in (values, index, readonly, ours, other):
        disk.close(fd)


def test_fsync_always_is_not_for_the_extension_and_interval_remembers(native, tmp_path):
    for fsync, done in (("always", 0), ("interval", 1)):
        writer, spy = make_writer(tmp_path / fsync, fsync=fsync), Spy()
        writer.append([b"one"])
        writer.sync()
        assert not writer._is_dirty or fsync == "always"
        writer._native = spy
        writer.append([b"two"])
        assert spy.done == done
        assert writer._is_dirty
        writer.close()
        assert damage_of(tmp_path / fsync) == []


def test_a_failed_sync_is_raised_by_the_next_append_and_the_segment_left(native, tmp_path):
    writer, spy = make_writer(tmp_path, fsync="interval"), Spy()
    writer.append([b"one"])
    writer._native = spy
    writer.append([b"two"])
    writer._disk = disk = PureDisk()
    disk.fdatasync = lambda fd: (_ for _ in ()).throw(OSError(5, "no such luck"))
    writer.sync()
    del disk.fdatasync
    writer._disk = Disk()
    with pytest.raises(Exception, match="no such luck"):
        writer.append([b"refused"])
    assert writer.append([b"three"]) == 2
    assert writer.append([b"four"]) == 3
    assert len(list(tmp_path.glob("*.index"))) == 2
    assert values_of(tmp_path) == [b"one", b"two", b"three", b"four"]
    assert spy.done == 3


def test_what_is_not_writable_is_a_disk_fault(native, tmp_path):
    writer = make_writer(tmp_path)
    writer.append([b"one"])
    tail, disk = writer._tail, Disk()
    readonly = disk.open(next(map(str, tmp_path.glob("*.index"))))
    writable, tail.index_fd = tail.index_fd, readonly
    with pytest.raises(DiskFault):
        writer.append([b"two"])
    tail.index_fd = writable
    disk.close(readonly)
    assert writer.append([b"three"]) == 1
    assert values_of(tmp_path) == [b"one", b"three"]
    assert damage_of(tmp_path) == []


def test_a_disk_of_its_own_is_not_passed_by():
    class Own(PureDisk):
        pass

    assert PureDisk.native is None
    assert Own.native is None
    assert Own().native is None
