"""The bytes on disk, pinned: a change here is a new format."""

from struct import pack
from zlib import crc32

import pytest

from rdv.stream import StreamConfig, open_stream
from rdv.stream.file.entry import (
    SEALED,
    intact,
    pack_batch,
    pack_entry,
    unpack_entries,
    unpack_entry,
    whole,
)

NS = 1_700_000_000_000_000_000
ENTRY = "2c0100000000000000002a36fe9c971707000000efbeadde01000000a869ec4b"
FIRST_VALUES = b'{"a":1}\n\xff\x00'
FIRST_INDEX = (
    "080000000000000000002a36fe9c97170800000046a3e8740000000068c02909 "
    "080000000000000000002a36fe9c97170000000046a3e8740000000096b6250f "
    "0a0000000000000000002a36fe9c971702000000b481013b00000000636cf1ee "
    "0a0000000000000000002a36fe9c971700000000b481013b01000000999576ba"
)
SECOND_INDEX = "040000000000000001002a36fe9c9717040000003c102f040000000095bc0ebb"


class SetClock:
    def __init__(self):
        self.wall = NS

    def wall_ns(self):
        return self.wall

    def monotonic_ns(self):
        return 0


def index_entry(end, time_ns, length, crc, flags):
    """The format as its document has it, written down once more."""
    head = pack("<QqIII", end, time_ns, length, crc, flags)
    return head + pack("<I", crc32(head, 0x2144DF1C))


@pytest.fixture
def partition(tmp_path):
    clock, path = SetClock(), tmp_path / "stream"
    config = StreamConfig(segment_bytes=10, retention_ms=None)
    stream = open_stream(str(path), config=config, clock=clock)
    with stream, stream.producer() as producer:
        producer.send_many("t", [b'{"a":1}\n', b"", b"\xff\x00"])
        clock.wall += 1
        producer.send("t", b"next")
    return path / "t" / "0"


def test_the_bytes_of_an_entry():
    entry = pack_entry(300, NS, 7, 0xDEADBEEF, SEALED)
    assert entry.hex() == ENTRY
    assert entry == index_entry(300, NS, 7, 0xDEADBEEF, 1)
    assert unpack_entry(entry)[:5] == (300, NS, 7, 0xDEADBEEF, 1)


def test_the_bytes_of_a_sealed_and_of_an_open_segment(partition):
    names = sorted(path.name for path in partition.iterdir() if path.name != "lock")
    assert names == [f"{base:020d}.{suffix}" for base in (0, 3) for suffix in ("index", "jsonl")]
    first, second = (partition / f"{base:020d}.index" for base in (0, 3))
    assert first.with_suffix(".jsonl").read_bytes() == FIRST_VALUES
    assert first.read_bytes().hex(" ", -32) == FIRST_INDEX
    assert second.with_suffix(".jsonl").read_bytes() == b"next"
    assert second.read_bytes().hex() == SECOND_INDEX


def test_the_index_is_what_the_document_says(partition):
    one, all_ = crc32(b'{"a":1}\n'), crc32(FIRST_VALUES)
    assert (partition / f"{0:020d}.index").read_bytes() == b"".join(
        [
            index_entry(8, NS, 8, one, 0),
            index_entry(8, NS, 0, one, 0),
            index_entry(10, NS, 2, all_, 0),
            index_entry(10, NS, 0, all_, 1),
        ]
    )


def test_a_batch_is_its_entries_and_any_changed_bit_shows():
    values = [b"a", b"", b"bc" * 50]
    data, end, crc = pack_batch(values, 5, NS, crc32(b"xxxxx"))
    assert (end, crc) == (106, crc32(b"xxxxx" + b"".join(values)))
    assert [entry[2] for entry in unpack_entries(data)] == [1, 0, 100]
    assert intact(data)
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert not intact(bytes(changed)), bit


def test_a_torn_entry_is_not_counted():
    assert [whole(size) for size in (0, 1, 31, 32, 33, 64)] == [0, 0, 0, 32, 32, 64]


def test_a_stream_of_this_format_is_read(tmp_path):
    with open_stream(str(tmp_path / "s")) as stream:
        stream.make_topic("t")
        directory = tmp_path / "s" / "t" / "0"
        for base, values, index in (
            (0, FIRST_VALUES, FIRST_INDEX),
            (3, b"next", SECOND_INDEX),
        ):
            (directory / f"{base:020d}.jsonl").write_bytes(values)
            (directory / f"{base:020d}.index").write_bytes(bytes.fromhex(index))
        with stream.consumer(["t"]) as consumer:
            records = consumer.poll() + consumer.poll()
    assert [(r.offset, r.timestamp_ns - NS, r.value) for r in records] == [
        (0, 0, b'{"a":1}\n'), (1, 0, b""), (2, 0, b"\xff\x00"), (3, 1, b"next"),
    ]  # fmt: skip
