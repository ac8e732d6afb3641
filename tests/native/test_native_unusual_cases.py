"""Check that the extension, called directly, leaves unusual cases to Python."""

from __future__ import annotations

import os
from zlib import crc32

import pytest

from rdv.stream.file.entry import ENTRY_BYTES, FORMAT_1, GAP, LOST, SEALED, codec_of

VALUES = [b"first\n", b"", b"third\n"]
DATA = b"".join(VALUES)
CODEC = codec_of("t/0", 0)
INDEX, END, CRC = CODEC.pack_batch(0, VALUES, 0, 50, 0)
CHAIN = [(6, crc32(b"first\n")), (6, crc32(b"first\n")), (12, crc32(DATA))]


@pytest.fixture
def files(tmp_path):
    """Return a function that opens a lock, values and an index with these bytes."""
    opened = []

    def open_with(data, index):
        fds = []
        for number, content in enumerate((b"", data, index)):
            path = tmp_path / f"{len(opened)}-{number}"
            path.write_bytes(content)
            fds.append(os.open(path, os.O_RDWR))
        opened.extend(fds)
        return fds

    yield open_with
    for fd in opened:
        os.close(fd)


def content(fd):
    return os.pread(fd, 10**6, 0)


def append(native, fds, known, **limits):
    """Append behind an end that the caller knows: `known` entries, the last one at the time 40."""
    end, crc = CHAIN[known - 1] if known else (0, 0)
    most = {"end_max": 100, "index_max": 10**6, "roll_at": 10**6, "now": 60, **limits}
    return native.append(
        *fds,
        [b"new", b"er"],
        known * ENTRY_BYTES,
        end,
        crc,
        40,
        most["now"],
        most["end_max"],
        most["index_max"],
        most["roll_at"],
        CODEC.first_word,
    )


def flipped(data, at, by=1):
    return data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]


TAILS = {
    "sealed": (DATA, INDEX + CODEC.pack(3, END, 50, 0, CRC, SEALED)),
    "given up": (DATA + b"x", INDEX + CODEC.pack(3, END + 1, 50, 1, CRC, LOST)),
    "of a flag that nobody knows": (DATA, INDEX + CODEC.pack(3, END, 50, 0, CRC, 4)),
    "with a gap behind it": (DATA, INDEX + CODEC.pack(3, 9, 50, 0, CRC, GAP)),
    "of another offset": (DATA, INDEX + CODEC.pack(4, END, 50, 0, CRC)),
    "of another segment": (DATA, INDEX + codec_of("t/0", 3).pack(3, END, 50, 0, CRC)),
    "of another partition": (DATA, INDEX + codec_of("t/1", 0).pack(3, END, 50, 0, CRC)),
    "of format 1": (DATA, INDEX + FORMAT_1.pack(3, END, 50, 0, CRC)),
    "with a damaged end": (DATA, INDEX[:-1] + b"?"),
    "with a damaged check": (DATA, flipped(INDEX, 64 + 30)),
    "of fewer values": (DATA[:-1], INDEX),
    "of more values": (DATA + b"dead", INDEX),
    "torn": (DATA, INDEX + INDEX[:31]),
    "torn so that its last bytes are an entry": (DATA, b"?" * 31 + INDEX),
    "cut to nothing": (b"", b""),
    "cut to less than an entry": (b"", INDEX[:5]),
}


@pytest.mark.parametrize("known", [1, 2])
@pytest.mark.parametrize("tail", TAILS)
def test_an_end_that_has_moved_and_is_not_plain_is_left_alone(native, files, tail, known):
    fds = files(*TAILS[tail])
    assert append(native, fds, known) is None
    assert (content(fds[1]), content(fds[2])) == TAILS[tail]


@pytest.mark.parametrize("known", [2, 3])
def test_an_index_that_has_become_smaller_is_left_alone(native, files, known):
    kept = INDEX[: (known - 1) * ENTRY_BYTES]
    fds = files(DATA[: CHAIN[known - 2][0]], kept)
    assert append(native, fds, known) is None
    assert content(fds[2]) == kept


@pytest.mark.parametrize("known", [0, 1, 2, 3])
def test_appends_go_on_from_an_end_that_another_writer_moved(native, files, known):
    fds = files(DATA, INDEX)
    entries, end, crc = CODEC.pack_batch(3, [b"new", b"er"], END, 60, CRC)
    assert append(native, fds, known) == (len(INDEX), end, crc, 60)
    assert (content(fds[1]), content(fds[2])) == (DATA + b"newer", INDEX + entries)


@pytest.mark.parametrize(("now", "known", "stamp"), [(45, 1, 50), (45, 3, 45), (7, 3, 40)])
def test_no_time_is_before_that_of_the_last_entry(native, files, now, known, stamp):
    fds = files(DATA, INDEX)
    assert append(native, fds, known, now=now)[3] == stamp


@pytest.mark.parametrize("known", [1, 3])
@pytest.mark.parametrize(
    ("limit", "most", "is_full"),
    [
        ("end_max", END, True),
        ("end_max", END + 1, False),
        ("index_max", len(INDEX), True),
        ("index_max", len(INDEX) + 1, False),
        ("roll_at", 59, True),
        ("roll_at", 60, False),
        ("roll_at", -1, True),
    ],
)
def test_a_full_segment_is_left_to_be_sealed(native, files, known, limit, most, is_full):
    """The actual end counts, not the known one."""
    fds = files(DATA, INDEX)
    assert (append(native, fds, known, **{limit: most}) is None) == is_full
    assert (content(fds[2]) == INDEX) == is_full


def read(native, fds, number=0):
    end, crc = CHAIN[number - 1] if number else (0, 0)
    return native.read(fds[2], fds[1], number, end, crc, 10, 1000, 50, CODEC.first_word)


def test_what_is_sound_is_read(native, files):
    fds = files(DATA, INDEX)
    assert read(native, fds) == (3, [50] * 3, [6, 6, 12], DATA, END, CRC, True)
    assert read(native, fds, 1) == (2, [50] * 2, [0, 6], b"third\n", END, CRC, True)
    assert read(native, fds, 3) is None


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_blocks_with_a_flipped_bit_are_left_to_python(native, files, bit):
    fds = files(DATA, INDEX)
    for at in range(len(DATA)):
        os.pwrite(fds[1], flipped(DATA, at, 1 << bit), 0)
        assert read(native, fds) is False
    os.pwrite(fds[1], DATA, 0)
    for at in range(len(INDEX)):
        os.pwrite(fds[2], flipped(INDEX, at, 1 << bit), 0)
        assert read(native, fds) is False
    os.pwrite(fds[2], INDEX, 0)
    assert read(native, fds)


def test_incomplete_values_are_left_to_python(native, files):
    fds = files(DATA, INDEX)
    for size in range(len(DATA)):
        os.ftruncate(fds[1], size)
        assert read(native, fds) is False


@pytest.mark.parametrize(
    "entry",
    [
        CODEC.pack(3, END, 50, 0, CRC, SEALED),
        CODEC.pack(3, END, 50, 0, CRC, LOST),
        CODEC.pack(3, END, 50, 1, CRC, 0),
        CODEC.pack(3, END + 1, 50, 0, CRC, 0),
        CODEC.pack(3, END - 1, 50, 0, CRC, 0),
        CODEC.pack(3, 2**64 - 1, 50, 0, CRC, 0),
        CODEC.pack(3, END - 1, 50, 2**32 - 1, CRC, 0),
        CODEC.pack(3, END + 2**32 - 1, 50, 2**32 - 1, CRC, 0),
        CODEC.pack(3, END, 49, 0, CRC),
        CODEC.pack(3, 9, 50, 0, CRC, GAP),
        CODEC.pack(4, END, 50, 0, CRC),
        CODEC.pack(2, END, 50, 0, CRC),
        FORMAT_1.pack(3, END, 50, 0, CRC),
        codec_of("t/0", 3).pack(3, END, 50, 0, CRC),
        codec_of("t/1", 0).pack(3, END, 50, 0, CRC),
    ],
    ids=range(15),
)
def test_an_entry_that_is_intact_but_no_plain_one_is_left_to_python(native, files, entry):
    fds = files(DATA + b"more", INDEX + entry)
    assert read(native, fds) is False
    assert read(native, fds, 3) is False


@pytest.mark.parametrize("slot", [0, 7, 8, 1015, 1016, 1023])
def test_any_slot_is_seen_to_wait(native, slot):
    board = bytearray(9744)
    board[528 + slot] = 4
    board[1552 + 8 * slot + 7] = 0x80
    assert native.announce(board, -1, 528, 1552, 1 << 63, {}, 16, 1) == [slot]
    assert native.announce(board, -1, 528, 1552, 1 << 62, {}, 16, 1) == []
    assert native.announce(board, -1, 528, 1552, 2**64 - 1, {}, 16, 1) == [slot]
