"""Check many writers of one partition: some killed, some without the extension or room."""

from __future__ import annotations

import errno
import signal

import pytest
from native_kit import Child, damage_of, make_writer, values_of


def test_four_processes_lose_nothing_and_say_nothing_twice(native, tmp_path):
    """One process runs without the extension. Segments are small, so that every process rolls."""
    names = ["a", "b", "c", "pure"]
    children = [
        Child("append_many", str(tmp_path), name, 120, native="0" if name == "pure" else "")
        for name in names
    ]
    try:
        assert [child.hear() for child in children] == [[True], [True], [True], [False]]
        for child in children:
            child.go()
        said = [child.rest() for child in children]
    finally:
        for child in children:
            child.__exit__()
    counts = {name: count for name, [[count, _]] in zip(names, said, strict=True)}
    for name, [[_, done]] in zip(names, said, strict=True):
        assert bool(done) == (name != "pure")
    found = {name: [] for name in names}
    for value in values_of(tmp_path):
        name, number = value.decode().split()
        found[name].append(int(number))
    assert found == {name: list(range(count)) for name, count in counts.items()}
    assert damage_of(tmp_path) == []
    assert len(list(tmp_path.glob("*.index"))) > 3


def test_a_killed_writer_takes_nothing_along(native, tmp_path):
    for told in (1, 20, 60):
        directory = tmp_path / str(told)
        with Child("append_for_ever", str(directory)) as child:
            acknowledged = [child.hear()[0] for _ in range(told)]
            child.process.send_signal(signal.SIGKILL)
            acknowledged += [offset for (offset,) in child.rest()]
            assert child.process.wait() == -signal.SIGKILL
        _goes_on_soundly(directory, acknowledged[-1] + 7)


def _goes_on_soundly(directory, acknowledged):
    """Check that the values are 0, 1, ... and that two more writers go on behind them."""
    writers = [make_writer(directory) for _ in range(2)]
    first = writers[0].append([b"later"])
    assert first >= acknowledged
    for number in range(4):
        assert writers[number % 2].append([b"later"]) == first + 1 + number
    values = values_of(directory)
    assert [int(value) for value in values[:first]] == list(range(first))
    assert values[first:] == [b"later"] * 5
    assert damage_of(directory) == []


# A value has six bytes at most and an entry has 32: the index is the first to reach a limit.
@pytest.mark.parametrize("limit_bytes", [32 * 5 * 4, 32 * 5 * 4 + 32, 1001])
def test_a_writer_that_is_killed_in_its_write_leaves_whole_records(native, tmp_path, limit_bytes):
    """The kernel ends it between values and entries, or in the middle of an entry."""
    with Child("die_writing", str(tmp_path), limit_bytes) as child:
        said = child.rest()
        assert child.process.wait() == -signal.SIGXFSZ
    acknowledged, done = said[-1]
    assert done == acknowledged // 5 - 1
    (index,) = tmp_path.glob("*.index")
    assert index.stat().st_size == limit_bytes
    assert len(values_of(tmp_path)) == limit_bytes // 32
    _goes_on_soundly(tmp_path, acknowledged)


@pytest.mark.parametrize("limit_bytes", [1024, 999])
@pytest.mark.parametrize(("size", "count"), [(50, 3), (900, 1), (0, 3), (3, 40)])
def test_no_room_half_way_is_a_full_disk_and_room_is_room(
    native, tmp_path, size, count, limit_bytes
):
    """The values fail where their file is bigger, otherwise the entries."""
    with Child("fill_up", str(tmp_path), size, count, limit_bytes) as child:
        ((sent, seen, again, failed, errors, done),) = child.rest()
    assert "cannot write to" in failed
    assert "file too large" in failed.lower()
    assert sent <= seen < sent + count
    assert again == seen
    is_first = sent == 0
    assert errors == ([] if size >= 50 or is_first else [errno.EFBIG])
    # The first append opens the files; the first one after a failed write of entries finds their
    # end.
    assert done == max(0, sent // count - 1) + (not errors)
    values = values_of(tmp_path)
    assert values == [b"%0*d" % (size, n) if size else b"" for n in range(seen)] + [b"room again"]
    assert damage_of(tmp_path) == []
