"""Check that wrong arguments raise, and that neither arguments nor results leak."""

from __future__ import annotations

import gc
import mmap
import os
import sys
import tracemalloc

import pytest
from fake_clock import FakeClock
from native_kit import make_writer

from rdv.stream.file.entry import codec_of
from rdv.stream.file.layout import identity

APPEND = (0, 1, 2, [b"x"], 0, 0, 0, 0, 0, 0, 0, 0, 0)
READ = (1, 2, 0, 0, 0, 10, 100, 0, 0)
BOARD = bytes(9744)
ANNOUNCE = (BOARD, 1, 528, 1552, 1, {}, 16, 1)
RAISED = (TypeError, ValueError, OverflowError)


def with_(arguments, at, what):
    return (*arguments[:at], what, *arguments[at + 1 :])


CASES = [
    *(("append", with_(APPEND, at, what)) for at in range(13) for what in ("1", None, 1.5)),
    *(("append", with_(APPEND, at, 2**64)) for at in (0, 1, 2, 4, 5, 7, 8, 9, 10, 11, 12)),
    *(("append", with_(APPEND, at, 2**32)) for at in (0, 1, 2)),
    *(("append", with_(APPEND, 3, what)) for what in ([b"x", "x"], [bytearray(b"x")], {b"x"})),
    ("append", with_(APPEND, 3, iter(()))),
    ("append", with_(APPEND, 5, -1)),
    *(("read", with_(READ, at, what)) for at in range(9) for what in ("1", None, 1.5)),
    *(("read", with_(READ, at, 2**64)) for at in (0, 1, 2, 3, 7, 8)),
    *(("read", with_(READ, at, 2**32)) for at in (0, 1)),
    *(("read", with_(READ, at, -1)) for at in (2, 3, 5, 6)),
    ("read", with_(READ, 5, -(2**63))),
    ("read", with_(READ, 5, 5000 - 2**59)),
    ("read", with_(READ, 5, -(2**70))),
    ("read", with_(READ, 2, 2**62)),
    ("read", with_(READ, 2, 2**63 - 1)),
    *(("announce", with_(ANNOUNCE, at, what)) for at in range(8) for what in ("1", None, 1.5)),
    *(("announce", with_(ANNOUNCE, at, 2**65)) for at in range(8)),
    ("announce", with_(ANNOUNCE, 1, 2**32)),
    *(("announce", with_(ANNOUNCE, at, what)) for at in (2, 3) for what in (-1, 9744)),
    *(("announce", with_(ANNOUNCE, at, what)) for at in (2, 3) for what in (2**63 - 1, -(2**63))),
    ("announce", with_(ANNOUNCE, 2, 9744 - 1023)),
    ("announce", with_(ANNOUNCE, 3, 1553)),
    ("announce", with_(ANNOUNCE, 0, b"short")),
    ("lines", ("text", [])),
    ("lines", (bytearray(b"\n"), [1])),
    ("lines", (b"\n", (1,))),
    ("lines", (b"\n", None)),
    ("lines", (b"\n", ["1"])),
    ("lines", (b"\n", [2**64])),
    ("lines", (b"\n", [-(2**64)])),
    ("lines", (b"\n", [1.0])),
    ("score_lines", ([], [], None)),
    ("score_lines", ((), [], [])),
    ("score_lines", ([], (), [])),
    ("score_lines", (["a"], [], [])),
    ("score_lines", (["a"], [b""], [])),
    ("score_lines", ([b"a"], [b""], [b""])),
    ("score_lines", (["a"], [""], [b""])),
    ("score_lines", (["a"], [b""], [None])),
    ("score_lines", (["a", 1], [b"", b""], [b"", b""])),
    ("score_lines", (["\ud800"], [b""], [b""])),
    ("columns", ((), 0)),
    ("columns", ([1], 1)),
    ("columns", (["a"], 2)),
    ("columns", (["a"], "1")),
    *(("columns", (None, what)) for what in (None, -1, 2**31, 2**70)),
    ("rows", (None, [], bytearray(), False)),
]  # fmt: skip


@pytest.fixture
def null():
    fd = os.open(os.devnull, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_wrong_arguments_raise(native, null, name, arguments):
    if name == "announce" and arguments[0] is BOARD:
        waiting = bytearray(BOARD)
        waiting[528] = 1  # a reader waits, so that the bells are looked at
        waiting[1552] = 1
        arguments = (bytes(waiting), *arguments[1:])
    if name not in {"lines", "score_lines", "columns", "rows"}:
        # If it does not raise, it must not write to one of our descriptors.
        arguments = tuple(
            null if type(a) is int and a in {0, 1, 2} and at < 3 else a
            for at, a in enumerate(arguments)
        )
    with pytest.raises(RAISED):
        getattr(native, name)(*arguments)


@pytest.mark.parametrize("name", ["append", "read", "announce", "lines", "score_lines"])
def test_a_wrong_number_of_arguments_raises(native, name):
    whole = {"append": APPEND, "read": READ, "announce": ANNOUNCE}
    whole = whole.get(name, ([],) * (2 if name == "lines" else 3))
    for count in (0, 1, len(whole) - 1, len(whole) + 1):
        with pytest.raises(TypeError, match="arguments"):
            getattr(native, name)(*(whole * 2)[:count])
    with pytest.raises(TypeError):
        getattr(native, name)(*whole, key=1)


@pytest.mark.parametrize(
    "arguments",
    [([b"[1]"], bytearray(7)), ([b"[1]"], bytes(8)), ([b"[1]"], None), ((b"[1]",), bytearray(8)),
     (["[1]"], bytearray(8)), ([None], bytearray(8)), (None, bytearray(8))],
)  # fmt: skip
def test_wrong_rows_raise(native, arguments):
    with pytest.raises((*RAISED, BufferError)):
        native.rows(native.columns(None, 1), *arguments, False)


def test_a_huge_board_is_no_reason_to_wrap_around(native):
    with mmap.mmap(-1, 9744) as board, pytest.raises(ValueError, match="too small"):
        native.announce(board, -1, 2**63 - 1 - 1023, 1552, 1, {}, 16, 1)


def test_invalid_doorbell_descriptors_raise(native):
    board = bytearray(9744)
    board[528] = board[1552] = 1
    for bells in ({0: "1"}, {0: None}, {0: 2**70}, []):
        with pytest.raises(RAISED):
            native.announce(board, -1, 528, 1552, 1, bells, 16, 1)
    board.append(0)  # the extension holds no reference to it


@pytest.fixture
def partition(tmp_path):
    """Yield lock, values, index as descriptors, and the tag of the first of its 3,000 entries."""
    writer = make_writer(tmp_path, clock=FakeClock(10**18))
    for _ in range(6):
        writer.append([b"some value\n", b""] * 250)
    writer.close()
    fds = [
        os.open(path, os.O_RDWR)
        for path in (
            tmp_path / "lock",
            *sorted(tmp_path.glob("*.jsonl")),
            *sorted(tmp_path.glob("*.index")),
        )
    ]
    yield *fds, codec_of(identity(str(tmp_path)), 0).first_word
    for fd in fds:
        os.close(fd)


def calls(native, partition, value, values, ids):
    """Return calls of each function, successful ones and failing ones."""
    lock, data, index, word = partition
    size = os.lseek(index, 0, os.SEEK_END)
    end = os.lseek(data, 0, os.SEEK_END)
    board = bytearray(9744)
    waiting = bytearray(board)
    waiting[528 + 700 : 528 + 710] = bytes([1, 2, 3, 4, 1, 2, 3, 4, 1, 2])
    for slot in range(700, 710):
        waiting[1552 + slot * 8] = 1
    bells = {700 + i: 10**6 + i for i in range(10)}

    def append(values, index_fd=index, end_max=10**9):
        return native.append(
            lock, data, index_fd, values, size, end, 0, 5, 9, end_max, 10**9, 10**18, word
        )

    def undone():
        os.ftruncate(index, size)

    return [
        lambda: (append(values), undone()),
        lambda: (append(tuple(values)), undone()),
        lambda: append(values, end_max=0),
        lambda: append([*values, None]),
        lambda: append(values, index_fd=10**6),
        lambda: append([value] * 600),
        lambda: native.read(index, data, 0, 0, 0, 500, 10**6, 0, word),
        lambda: native.read(index, data, 0, 0, 0, 5000, 10**6, 0, word),
        lambda: native.read(index, data, 0, 0, 1, 500, 10**6, 0, word),
        lambda: native.read(index, data, 0, 0, 0, 500, 1, 0, word),
        lambda: native.read(index, data, 3000, end, 0, 500, 1, 0, word),
        lambda: native.announce(board, -1, 528, 1552, 1, bells, 16, 1),
        lambda: native.announce(waiting, -1, 528, 1552, 1, bells, 16, 1),
        lambda: native.announce(waiting, -1, 528, 1552, 1, {700: "x"}, 16, 1),
        lambda: native.announce(board, -1, 10**6, 1552, 1, bells, 16, 1),
        lambda: native.lines(b"a\nb\n", [2, 4]),
        lambda: native.lines(b"a\nb\n", [2, "4"]),
        lambda: native.score_lines(ids, values, values),
        lambda: native.score_lines([*ids, '"'], [*values, value], [*values, value]),
        lambda: native.score_lines([*ids, 7], [*values, value], [*values, value]),
        lambda: native.score_lines(ids, values, []),
        lambda: native.columns(ids, len(ids)),
        lambda: native.columns([*ids, "\ud800"], len(ids) + 1),
        lambda: native.columns([*ids, 7], len(ids) + 1),
        lambda: native.rows(native.columns(None, 2), [b"[1.5,2e300]"] * 2, bytearray(32), False),
        lambda: native.rows(native.columns(None, 1), [value], bytearray(8), False),
        lambda: native.rows(native.columns(None, 1), [b"[1]", 7], bytearray(16), False),
        lambda: native.rows(native.columns(None, 1), [b"[1]"], bytearray(7), False),
    ]


def test_what_is_passed_is_not_kept_and_what_is_made_is_given_up(native, partition):
    value = b"a value of our own\n" * 2
    values = [value, b"another one" * 3, value]
    ids = [f"id {number} of our own" for number in range(3)]
    objects = [value, values, values[1], ids, *ids]
    runs = calls(native, partition, value, values, ids)
    for number, run in enumerate(runs):

        def once(run=run):
            try:
                run()
            except (*RAISED, OSError):
                pass

        for _ in range(3):
            once()
        counts = list(map(sys.getrefcount, objects))
        gc.collect()
        gc.disable()
        tracemalloc.start()
        once()
        before = tracemalloc.get_traced_memory()[0]
        blocks = sys.getallocatedblocks()
        for _ in range(100):
            once()
        blocks = sys.getallocatedblocks() - blocks
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        gc.enable()
        assert list(map(sys.getrefcount, objects)) == counts, number
        assert blocks < 90, (number, blocks)
        assert grown < 3000, (number, grown)


def test_what_is_read_is_ours_alone(native, partition):
    _, data, index, word = partition
    found = native.read(index, data, 0, 0, 0, 5000, 10**9, 0, word)
    count, times, stops, values, _, _, is_all = found
    del found
    assert (count, len(times), len(stops), is_all) == (2048, 2048, 2048, False)
    assert sys.getrefcount(values) == 2
    assert sys.getrefcount(times) == sys.getrefcount(stops) == 2
    assert len(set(map(id, times))) == 1
    references = sys.getrefcount(times[0])
    assert references == 2048 + 1
    count, *_, is_all = native.read(index, data, count, stops[-1], 0, 5000, 0, 0, word) or [0, None]
    assert count == 0, "the CRC is that of the beginning"
