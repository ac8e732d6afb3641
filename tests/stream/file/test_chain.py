"""Walking a segment: damage costs its own record, and is named by where it is."""

from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.stream.file.chain import walk
from rdv.stream.file.entry import ENTRY_BYTES, LOST, SEALED, pack_batch, pack_entry

VALUES = [b"one", b"", b"three", b"4", b"five5"]
ALL = b"".join(VALUES)
ENTRIES = pack_batch(VALUES, 0, 7, 0)[0]
ci = settings(derandomize=True, deadline=None, database=None)


def judge(entries, data, end=0, crc=0):
    return list(walk(entries, lambda start, stop: data[start:stop], end, crc))


def flip(data, position, bit=0):
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


def test_sound_records_are_handed_out():
    verdicts = judge(ENTRIES, ALL)
    assert [v.status for v in verdicts] == ["ok"] * 5
    assert [v.value for v in verdicts] == VALUES
    assert [(v.start, v.end) for v in verdicts] == [(0, 3), (3, 3), (3, 8), (8, 9), (9, 14)]


@given(st.lists(st.binary(max_size=20)), st.data())
@ci
def test_a_walk_may_begin_anywhere(values, data):
    first = data.draw(st.integers(0, len(values)))
    before = b"".join(values[:first])
    entries, _, _ = pack_batch(values, 0, 7, 0)
    verdicts = judge(entries[first * ENTRY_BYTES :], b"".join(values), len(before), crc32(before))
    assert [v.value for v in verdicts] == values[first:]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("byte", range(ENTRY_BYTES))
def test_a_damaged_entry_costs_its_own_record_only(number, byte):
    verdicts = judge(flip(ENTRIES, number * ENTRY_BYTES + byte), ALL)
    assert [v.status for v in verdicts] == ["damaged" if n == number else "ok" for n in range(5)]
    assert verdicts[number].in_index
    assert [v.value for v in verdicts if v.status == "ok"] == [
        v for n, v in enumerate(VALUES) if n != number
    ]


@pytest.mark.parametrize("position", range(len(ALL)))
def test_a_damaged_value_costs_its_own_record_only(position):
    verdicts = judge(ENTRIES, flip(ALL, position))
    (damaged,) = [v for v in verdicts if v.status == "damaged"]
    assert damaged.start <= position < damaged.end
    assert not damaged.in_index
    assert damaged.value == b""


def test_values_that_end_too_early_are_named():
    verdicts = judge(ENTRIES, ALL[:8])
    assert [v.status for v in verdicts] == ["ok", "ok", "ok", "damaged", "damaged"]
    assert "end at byte 8" in verdicts[3].reason


@given(st.binary(max_size=14), st.sets(st.integers(0, 4)))
@ci
def test_a_wrong_value_is_never_handed_out(data, hurt):
    entries = ENTRIES
    for number in hurt:
        entries = flip(entries, number * ENTRY_BYTES)
    for verdict in judge(entries, data):
        assert verdict.status != "ok" or verdict.value == VALUES[verdict.number]


def test_a_seal_ends_the_walk_and_a_lost_record_is_passed():
    lost = pack_entry(4, 7, 4, crc32(b"????"), LOST)
    after = pack_entry(6, 7, 2, crc32(b"ok", crc32(b"????")), 0)
    seal = pack_entry(6, 7, 0, crc32(b"ok", crc32(b"????")), SEALED)
    verdicts = judge(lost + after + seal + after, b"garbok")
    assert [v.status for v in verdicts] == ["lost", "ok", "sealed"]
    assert verdicts[1].value == b"ok"


def test_an_index_that_runs_backwards_or_skips_is_damage():
    skip = pack_entry(9, 7, 2, crc32(b"xx"), 0)
    (verdict,) = judge(skip, b"0123456789")
    assert verdict.status == "damaged"
    assert "skips" in verdict.reason
    (verdict,) = judge(skip, b"0123456789", 8)
    assert "backwards" in verdict.reason
    assert judge(ENTRIES[:31], ALL) == []
