"""Pin the bytes on disk: a change here is a new format."""

import tomllib
from struct import pack
from zlib import crc32

import pytest
from fake_clock import FakeClock

from rdv.stream import StreamConfig, open_stream
from rdv.stream.errors import InvalidConfig
from rdv.stream.file.entry import FORMAT_1, SEALED, codec_of, unpack_entries, unpack_entry, whole

NS = 1_700_000_000_000_000_000
FIRST_VALUES = b'{"a":1}\n\xff\x00'
START, MASK = 0x1E1E5B07, 0x32766472
ENTRY = "2c0100000000000000002a36fe9c971707000000efbeaddeb16c293c7ccbdc81"
FIRST_INDEX = (
    "080000000000000000002a36fe9c97170800000046a3e87420e38f22a9f96296 "
    "080000000000000000002a36fe9c97170000000046a3e87430e38f22c8d877c0 "
    "0a0000000000000000002a36fe9c971702000000b481013b40e38f22a1a29c4a "
    "0a0000000000000000002a36fe9c971700000000b481013b51e38f22c40c024e"
)
SECOND_INDEX = "040000000000000001002a36fe9c9717040000003c102f0490b286bbe01f580c"
OLD_FIRST_INDEX = (
    "080000000000000000002a36fe9c97170800000046a3e8740000000068c02909 "
    "080000000000000000002a36fe9c97170000000046a3e8740000000096b6250f "
    "0a0000000000000000002a36fe9c971702000000b481013b00000000636cf1ee "
    "0a0000000000000000002a36fe9c971700000000b481013b01000000999576ba"
)
"""The same in format 1, that of rdv 0.1."""
OLD_SECOND_INDEX = "040000000000000001002a36fe9c9717040000003c102f040000000095bc0ebb"


def index_entry(base, number, end, time_ns, length, crc, flags):
    """Return an entry as the document of the format describes it, independently of the code."""
    tag = (crc32(b"t/0/%d" % base) >> 4) + number
    head = pack("<QqIII", end, time_ns, length, crc, (tag << 4 | flags) % 2**32)
    return head + pack("<I", crc32(head, START) ^ MASK)


@pytest.fixture
def partition(tmp_path):
    clock, path = FakeClock(NS), tmp_path / "stream"
    config = StreamConfig(segment_bytes=10, retention_ms=None)
    stream = open_stream(str(path), config=config, clock=clock)
    with stream, stream.producer() as producer:
        producer.send_many("t", [b'{"a":1}\n', b"", b"\xff\x00"])
        clock.wall += 1
        producer.send("t", b"next")
    return path / "t" / "0"


def test_the_bytes_of_an_entry():
    codec = codec_of("t/0", 40)
    entry = codec.pack(3, 300, NS, 7, 0xDEADBEEF, SEALED)
    assert entry.hex() == ENTRY
    assert entry == index_entry(40, 3, 300, NS, 7, 0xDEADBEEF, 1)
    assert unpack_entry(entry)[:4] == (300, NS, 7, 0xDEADBEEF)


def test_the_bytes_of_a_sealed_and_of_an_open_segment(partition):
    names = sorted(path.name for path in partition.iterdir() if path.suffix)
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
            index_entry(0, 0, 8, NS, 8, one, 0),
            index_entry(0, 1, 8, NS, 0, one, 0),
            index_entry(0, 2, 10, NS, 2, all_, 0),
            index_entry(0, 3, 10, NS, 0, all_, 1),
        ]
    )


@pytest.mark.parametrize("codec", [FORMAT_1, codec_of("t/0", 7)])
def test_a_batch_is_its_entries_and_any_changed_bit_shows(codec):
    values = [b"a", b"", b"bc" * 50]
    data, end, crc = codec.pack_batch(6, values, 5, NS, crc32(b"xxxxx"))
    assert (end, crc) == (106, crc32(b"xxxxx" + b"".join(values)))
    assert [entry[2] for entry in unpack_entries(data)] == [1, 0, 100]
    assert codec.intact(data)
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert not codec.intact(bytes(changed)), bit


def test_a_torn_entry_is_not_counted():
    assert [whole(size) for size in (0, 1, 31, 32, 33, 64)] == [0, 0, 0, 32, 32, 64]


@pytest.mark.parametrize("first", [0, 2**28 - 2, 2**32 - 1])
def test_the_tags_count_up_and_begin_again(first):
    codec = codec_of("t/0", 7)
    words = codec.words(first, 5)
    assert words == [codec.word(first + n) for n in range(5)]
    assert [(word - codec.first_word) % 2**32 // 16 for word in words] == [
        (first + n) % 2**28 for n in range(5)
    ]


def test_no_entry_is_one_of_the_other_format():
    """This tells the format of a segment, and is why rdv 0.1 takes a current entry for damage."""
    for number in range(300):
        fields = (number, number * 7, NS, number, number * 12345)
        assert not FORMAT_1.intact(codec_of("t/0", 0).pack(*fields))
        assert not codec_of("t/0", 0).intact(FORMAT_1.pack(*fields))
    assert not codec_of("t/0", 0).intact(bytes(32))


OLD = (OLD_FIRST_INDEX, OLD_SECOND_INDEX)
NEW = (FIRST_INDEX, SECOND_INDEX)


def put(tmp_path, first, second):
    """Make a stream `tmp_path/s` with these two segments, the second of which is open."""
    with open_stream(str(tmp_path / "s")) as stream:
        stream.make_topic("t")
    directory = tmp_path / "s" / "t" / "0"
    for base, values, index in ((0, FIRST_VALUES, first), (3, b"next", second)):
        (directory / f"{base:020d}.jsonl").write_bytes(values)
        (directory / f"{base:020d}.index").write_bytes(bytes.fromhex(index))
    return directory


@pytest.mark.parametrize("first", [OLD_FIRST_INDEX, FIRST_INDEX])
@pytest.mark.parametrize("second", [OLD_SECOND_INDEX, SECOND_INDEX])
def test_streams_of_both_formats_are_read(tmp_path, first, second):
    put(tmp_path, first, second)
    values = [b'{"a":1}\n', b"", b"\xff\x00", b"next"]
    with open_stream(str(tmp_path / "s")) as stream:
        with stream.consumer(["t"]) as consumer:
            records = consumer.poll() + consumer.poll()
        assert [(r.offset, r.timestamp_ns - NS, r.value) for r in records] == [
            (offset, int(offset == 3), value) for offset, value in enumerate(values)
        ]
        for start in range(4):
            with stream.consumer(["t"], start=start) as consumer:
                assert consumer.poll(1)[0].value == values[start]
        assert stream.read_arrow("t").to_pylist() == values
        assert [stream.offset_at("t", 0, NS + n) for n in range(3)] == [0, 3, 4]
        assert [report.damage for report in stream.verify("t", 0)] == [(), ()]
        assert stream.repair("t", 0) == []


def test_an_old_segment_is_sealed_and_the_next_is_of_today(tmp_path):
    directory = put(tmp_path, *OLD)
    with open_stream(str(tmp_path / "s")) as stream, stream.producer() as producer:
        assert producer.send("t", b"of today") == (0, 4)
        assert stream.segments("t", 0) == [0, 3, 4]
        assert [report.damage for report in stream.verify("t", 0)] == [()] * 3
    old = (directory / f"{3:020d}.index").read_bytes()
    assert old.hex().startswith(OLD_SECOND_INDEX)
    assert FORMAT_1.intact(old)
    assert codec_of("t/0", 4).intact((directory / f"{4:020d}.index").read_bytes())


def test_an_old_empty_segment_becomes_one_of_today(tmp_path):
    directory = put(tmp_path, OLD_FIRST_INDEX, "")
    (directory / f"{3:020d}.jsonl").write_bytes(b"")
    with open_stream(str(tmp_path / "s")) as stream, stream.producer() as producer:
        assert producer.send("t", b"of today") == (0, 3)
        assert stream.segments("t", 0) == [0, 3]
    assert codec_of("t/0", 3).intact((directory / f"{3:020d}.index").read_bytes())


def test_what_a_running_process_of_rdv_0_1_adds_is_read(tmp_path):
    """A process of rdv 0.1 that already has the stream open takes a current entry for damage, so it
    seals the segment in its own format and begins another.
    """
    directory = put(tmp_path, *NEW)
    crc = crc32(b"next")
    with (directory / f"{3:020d}.index").open("ab") as index:
        index.write(FORMAT_1.pack(1, 4, NS, 0, crc, SEALED))
    (directory / f"{4:020d}.jsonl").write_bytes(b"old")
    (directory / f"{4:020d}.index").write_bytes(FORMAT_1.pack(0, 3, NS + 2, 3, crc32(b"old")))
    with open_stream(str(tmp_path / "s")) as stream, stream.producer() as producer:
        assert producer.send("t", b"of today") == (0, 5)
        found = []
        with stream.consumer(["t"]) as consumer:
            while records := consumer.poll():
                found += [(record.offset, record.value) for record in records]
        assert found[3:] == [(3, b"next"), (4, b"old"), (5, b"of today")]
        (damage,) = [one for report in stream.verify("t", 0) for one in report.damage]
        assert "no record is affected" in damage.reason
        assert len(stream.repair("t", 0)) == 1
        assert [report.damage for report in stream.verify("t", 0)] == [()] * 4


KEYS_OF_0_1 = {
    "partitions", "segment_bytes", "retention_ms", "retention_bytes", "fsync", "fsync_interval_ms",
    "record_bytes_max", "lock_timeout_ms", "open_partitions_max",
}  # fmt: skip
"""The keys that rdv 0.1 knows: it refuses a stream whose stream.toml has another."""


def test_rdv_0_1_is_kept_away_once_something_is_written(tmp_path):
    put(tmp_path, *OLD)
    path = tmp_path / "s" / "stream.toml"
    settings = "# by hand\nsegment_bytes = 77 # small\n"
    path.write_text(settings)
    with open_stream(str(tmp_path / "s")) as stream:
        with stream.consumer(["t"]) as consumer:
            assert consumer.poll()
        assert path.read_text() == settings, "who only looks changes nothing"
        with stream.producer() as producer:
            producer.send("t", b"x")
    assert path.read_text().startswith(settings)
    assert not tomllib.loads(path.read_text()).keys() <= KEYS_OF_0_1
    with open_stream(str(tmp_path / "s")) as stream:
        assert stream.config.segment_bytes == 77


def test_a_new_stream_keeps_rdv_0_1_away(tmp_path):
    open_stream(str(tmp_path / "s")).close()
    table = tomllib.loads((tmp_path / "s" / "stream.toml").read_text())
    assert table.keys() - KEYS_OF_0_1 == {"format", "mode"}


@pytest.mark.parametrize("number", ["3", "0", '"2"'])
def test_another_format_is_refused_by_name(tmp_path, number):
    open_stream(str(tmp_path / "s")).close()
    path = tmp_path / "s" / "stream.toml"
    path.write_text(path.read_text().replace("format = 2", f"format = {number}"))
    with pytest.raises(InvalidConfig, match="format"):
        open_stream(str(tmp_path / "s"))
