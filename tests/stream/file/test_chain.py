"""Check that damage costs its own record only when a segment is read, and is named by its place."""

from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.stream.file.chain import BEGIN, Position, walk
from rdv.stream.file.entry import ENTRY_BYTES, FORMAT_1, LOST, SEALED, codec_of

VALUES = [b"one", b"", b"three", b"4", b"five5"]
ALL = b"".join(VALUES)
CODECS = {"1": FORMAT_1, "2": codec_of("t/0", 40)}
ci = settings(derandomize=True, deadline=None, database=None)


@pytest.fixture(params=CODECS)
def codec(request):
    """Return the codec of an old segment, or of a current one."""
    return CODECS[request.param]


def entries_of(codec):
    return codec.pack_batch(0, VALUES, 0, 7, 0)[0]


def judge(codec, entries, data, at=BEGIN):
    return list(walk(codec, entries, lambda start, stop: data[start:stop], at))


def flip(data, position, bit=0):
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


def test_sound_records_are_handed_out(codec):
    verdicts = judge(codec, entries_of(codec), ALL)
    assert [v.status for v in verdicts] == ["ok"] * 5
    assert [v.value for v in verdicts] == VALUES
    assert [(v.start, v.end) for v in verdicts] == [(0, 3), (3, 3), (3, 8), (8, 9), (9, 14)]


@given(st.sampled_from(sorted(CODECS)), st.lists(st.binary(max_size=20)), st.data())
@ci
def test_a_walk_may_begin_anywhere(name, values, data):
    codec = CODECS[name]
    first = data.draw(st.integers(0, len(values)))
    before = b"".join(values[:first])
    entries, _, _ = codec.pack_batch(0, values, 0, 7, 0)
    at = Position(first, len(before), crc32(before), 7)
    verdicts = judge(codec, entries[first * ENTRY_BYTES :], b"".join(values), at)
    assert [v.value for v in verdicts] == values[first:]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("byte", range(ENTRY_BYTES))
def test_a_damaged_entry_costs_its_own_record_only(codec, number, byte):
    verdicts = judge(codec, flip(entries_of(codec), number * ENTRY_BYTES + byte), ALL)
    assert [v.status for v in verdicts] == ["damaged" if n == number else "ok" for n in range(5)]
    assert verdicts[number].in_index
    assert [v.value for v in verdicts if v.status == "ok"] == [
        v for n, v in enumerate(VALUES) if n != number
    ]


@pytest.mark.parametrize("position", range(len(ALL)))
def test_a_damaged_value_costs_its_own_record_only(codec, position):
    verdicts = judge(codec, entries_of(codec), flip(ALL, position))
    (damaged,) = [v for v in verdicts if v.status == "damaged"]
    assert damaged.start <= position < damaged.end
    assert not damaged.in_index
    assert damaged.value == b""


def test_values_that_end_too_early_are_named(codec):
    verdicts = judge(codec, entries_of(codec), ALL[:8])
    assert [v.status for v in verdicts] == ["ok", "ok", "ok", "damaged", "damaged"]
    assert "end at byte 8" in verdicts[3].reason


@given(st.sampled_from(sorted(CODECS)), st.binary(max_size=14), st.sets(st.integers(0, 4)))
@ci
def test_a_wrong_value_is_never_handed_out(name, data, hurt):
    entries = entries_of(CODECS[name])
    for number in hurt:
        entries = flip(entries, number * ENTRY_BYTES)
    for verdict in judge(CODECS[name], entries, data):
        assert verdict.status != "ok" or verdict.value == VALUES[verdict.number]


def test_a_seal_ends_the_walk_and_a_lost_record_is_passed(codec):
    lost = codec.pack(0, 4, 7, 4, crc32(b"????"), LOST)
    after = codec.pack(1, 6, 7, 2, crc32(b"ok", crc32(b"????")), 0)
    seal = codec.pack(2, 6, 7, 0, crc32(b"ok", crc32(b"????")), SEALED)
    verdicts = judge(codec, lost + after + seal + after, b"garbok")
    assert [v.status for v in verdicts] == ["lost", "ok", "sealed"]
    assert verdicts[1].value == b"ok"


def test_an_index_that_runs_backwards_or_skips_is_damage(codec):
    skip = codec.pack(0, 9, 7, 2, crc32(b"xx"), 0)
    (verdict,) = judge(codec, skip, b"0123456789")
    assert verdict.status == "damaged"
    assert "skips" in verdict.reason
    (verdict,) = judge(codec, skip, b"0123456789", BEGIN._replace(end=8))
    assert "backwards" in verdict.reason
    assert judge(codec, entries_of(codec)[:31], ALL) == []


def test_time_that_runs_backwards_is_damage(codec):
    early = codec.pack(1, 2, 6, 1, crc32(b"ab"))
    verdicts = judge(codec, codec.pack(0, 1, 7, 1, crc32(b"a")) + early, b"ab")
    assert [v.status for v in verdicts] == ["ok", "damaged"]
    assert "time runs backwards" in verdicts[1].reason


@given(st.permutations(range(5)), st.booleans())
@ci
def test_an_entry_at_another_place_is_damage(order, is_foreign):
    """This holds for equal values, too: the check covers the offset and the segment."""
    codec, values = CODECS["2"], [b"", b"", b"x", b"", b"x"]
    writer = codec_of("t/1", 40) if is_foreign else codec
    entries = writer.pack_batch(0, values, 0, 7, 0)[0]
    placed = b"".join(entries[n * ENTRY_BYTES : (n + 1) * ENTRY_BYTES] for n in order)
    for place, (number, verdict) in enumerate(zip(order, judge(codec, placed, b"xx"), strict=True)):
        if is_foreign or number != place:
            assert (verdict.status, verdict.in_index) == ("damaged", True)
