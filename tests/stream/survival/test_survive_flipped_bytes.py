"""Check a log in which one byte is wrong: in `make soak` every byte of every file, in two ways."""

from __future__ import annotations

import pytest
from survival_damage import (
    ENTRY,
    append_and_check,
    check_arrow,
    check_data,
    check_repair,
    collect,
    make_small_log,
)
from survival_logs import damage_of, read_all
from sweep import part_of

pytestmark = pytest.mark.sweep

PATTERNS = [0x01, 0xFF]
PLACES = [(1, 0), (2, 0), (2, 1)]
"""(segments of the log, number of the one whose files are damaged)"""


def flips(data, patterns):
    """Flip each byte by several patterns, or (for the longer checks) by one of them in turn."""
    for position in part_of(range(len(data)), 5):  # a prime: other bytes of each entry
        for pattern in PATTERNS[:patterns] if patterns > 1 else [PATTERNS[position % 2]]:
            hurt = bytearray(data)
            hurt[position] ^= pattern
            yield position, pattern, bytes(hurt)


def index_states(log, segment, patterns):
    """Yield (name of the state, lost offsets, file name, its data, whether the seal is damaged)."""
    name = log.index_name(segment)
    records = log.in_segment(segment)
    for position, pattern, data in flips(log.files[name], patterns):
        number = position // ENTRY
        is_seal = number == len(records)
        lost = set() if is_seal else {records[number]}
        yield f"index byte {position} ^ {pattern:#x}", lost, name, data, is_seal


def values_states(log, segment, patterns):
    name = log.values_name(segment)
    for position, pattern, data in flips(log.files[name], patterns):
        lost = {log.offset_of_byte(segment, position)}
        yield f"values byte {position} ^ {pattern:#x}", lost, name, data, False


def states(log, segment, file, patterns):
    return (index_states if file == "index" else values_states)(log, segment, patterns)


def check_reading(log, lost, name, data, is_seal):
    log.damaged(name, data)
    for max_records in (500, 1):
        with log.open() as stream:
            reading = read_all(stream, max_records=max_records)
            check_data(log, reading, lost, name)
            assert reading.end == len(log.values)
    with log.open() as stream:
        found = damage_of(stream)
    assert [d.path.endswith(name) for d in found] == [True], found
    if not is_seal:
        assert (found[0].first_offset, found[0].last_offset) == (min(lost), max(lost))


def check_appending(log, lost, name, data):
    log.damaged(name, data)
    append_and_check(log, len(log.values), lost)


def check_arrow_of(log, lost, name, data):
    log.damaged(name, data)
    check_arrow(log, lost)


def regained_of(log, segment, file, lost):
    """Return what a repair restores: an entry between two sound ones costs nothing in the end."""
    last = log.in_segment(segment)[-1]
    return lost - {last} if file == "index" else set()


def all_of(log, segment, file, check, patterns=1):
    collect(
        (what, lambda lost=lost, name=name, data=data, seal=seal: check(lost, name, data, seal))
        for what, lost, name, data, seal in states(log, segment, file, patterns)
    )


@pytest.mark.parametrize("file", ["index", "values"])
@pytest.mark.parametrize(("segments", "hurt"), PLACES)
def test_a_flipped_byte_costs_its_own_record_only_and_is_named(tmp_path, segments, hurt, file):
    log = make_small_log(tmp_path / "log", segments)
    all_of(log, hurt, file, lambda *state: check_reading(log, *state), len(PATTERNS))


@pytest.mark.parametrize("file", ["index", "values"])
@pytest.mark.parametrize(("segments", "hurt"), PLACES)
def test_appends_go_on_behind_a_flipped_byte(tmp_path, segments, hurt, file):
    log = make_small_log(tmp_path / "log", segments)
    all_of(log, hurt, file, lambda lost, name, data, _: check_appending(log, lost, name, data))


@pytest.mark.parametrize("file", ["index", "values"])
@pytest.mark.parametrize(("segments", "hurt"), PLACES)
def test_arrow_never_hands_out_a_flipped_byte(tmp_path, segments, hurt, file):
    log = make_small_log(tmp_path / "log", segments)
    all_of(log, hurt, file, lambda lost, name, data, _: check_arrow_of(log, lost, name, data))


@pytest.mark.parametrize("file", ["index", "values"])
@pytest.mark.parametrize(("segments", "hurt"), PLACES)
def test_repair_of_a_flipped_byte_loses_no_other_record(tmp_path, segments, hurt, file):
    log = make_small_log(tmp_path / "log", segments)

    def check(lost, name, data, _):
        log.damaged(name, data)
        check_repair(log, lost, regained_of(log, hurt, file, lost), {name})

    all_of(log, hurt, file, check)


@pytest.mark.parametrize("file", ["index", "values"])
def test_repair_after_appends_behind_a_flipped_byte(tmp_path, file):
    log = make_small_log(tmp_path / "log", 1)

    def check(lost, name, data, _):
        check_appending(log, lost, name, data)
        with log.open() as stream:
            before = read_all(stream).records
            stream.repair("t", 0)
            assert damage_of(stream) == []
            after = read_all(stream)
        assert not after.damage
        assert after.records.items() >= before.items()
        assert after.records.keys() >= regained_of(log, 0, file, lost)

    all_of(log, 0, file, check)


@pytest.mark.parametrize("from_record", [0, 3, 5])
def test_damage_up_to_the_seal_names_no_record_of_the_next_segment(tmp_path, from_record):
    """A reader that seeks behind the named damage must not pass over a sound record."""
    log = make_small_log(tmp_path / "log", 2)
    name, stop = log.index_name(0), log.bases[1]
    data = log.files[name][: from_record * ENTRY] + bytes((stop + 1 - from_record) * ENTRY)
    for max_records in (500, 1):
        log.damaged(name, data)
        with log.open() as stream:
            reading = read_all(stream, max_records=max_records)
            check_data(log, reading, set(range(from_record, stop)), name)
    check_repair(log, set(range(from_record, stop)), set(), {name})


@pytest.mark.parametrize("hurt", [0, 2, 3])
def test_repair_under_an_open_producer_lets_it_go_on(tmp_path, hurt):
    """The producer has the files open, and remembers where the last of them ended."""
    log = make_small_log(tmp_path / "log", 1)
    values = [b"first", b"second", b"third", b"fourth"]
    with log.open() as stream, stream.producer() as producer:
        producer.send("t", values[0])
        base = len(log.values)
        producer.send_many("t", values[1:])
        index = log.path / "t" / "0" / f"{base:020d}.index"
        if not index.exists():
            index, base = log.path / "t" / "0" / log.index_name(0), 0
        number = len(log.values) - base + hurt
        data = bytearray(index.read_bytes())
        data[number * ENTRY + 9] ^= 0xFF
        index.write_bytes(data)
        with log.open() as operator:
            assert len(operator.repair("t", 0)) == 1
        _, offset = producer.send("t", b"after the repair")
        assert damage_of(stream) == []
        records = read_all(stream).records
        assert records.pop(offset) == b"after the repair"
        expected = dict(enumerate([*log.values, *values]))
        lost = len(log.values) + hurt
        assert records.items() <= expected.items()
        assert set(expected) - set(records) <= {lost}
