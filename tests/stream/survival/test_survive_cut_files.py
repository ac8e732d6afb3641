"""Check a log with a file that ends too early: in `make soak` it is cut at every byte."""

from __future__ import annotations

import pytest
from survival_damage import (
    ENTRY,
    NEW,
    append_and_check,
    check_arrow,
    check_data,
    check_repair,
    collect,
    make_small_log,
)
from survival_logs import TOPIC, assert_sound, damage_of, partition_directory, read_all
from sweep import part_of

from rdv.stream.file.checkpoint import MARK_AT

pytestmark = pytest.mark.sweep

LAST = [(1, 0), (2, 1)]
"""(segments of the log, number of the last one)"""


def cuts(log, name):
    data = log.files[name]
    some = set(part_of(range(len(data)), 7))
    whole = {size for size in range(len(data)) if size % ENTRY in (0, 1, ENTRY - 1)}
    for size in sorted(some | whole):
        yield size, data[:size]


def lost_by_short_values(log, segment, size):
    """Return the offsets whose values end beyond `size`; empty ones have no bytes to lose."""
    pairs = zip(log.in_segment(segment), log.ends(segment), strict=True)
    return {offset for offset, end in pairs if end > size and log.values[offset]}


def check_all_cuts(log, name, check):
    collect(
        (f"{name} cut to {size} bytes", lambda size=size, data=data: check(size, data))
        for size, data in cuts(log, name)
    )


@pytest.mark.parametrize(("segments", "last"), LAST)
def test_a_cut_of_the_last_index_is_named_and_its_offsets_are_not_used_again(
    tmp_path, segments, last
):
    """The lock file records the log's end at the time when its writer closed it."""
    log = make_small_log(tmp_path / "log", segments)
    name = log.index_name(last)

    def check(size, data):
        log.damaged(name, data)
        lost = set(range(log.bases[last] + size // ENTRY, len(log.values)))
        for max_records in (500, 1):
            with log.open() as stream:
                check_data(log, read_all(stream, max_records=max_records), lost, name)
                assert len(damage_of(stream)) == 1
        check_arrow(log, lost)
        append_and_check(log, len(log.values), lost)

    check_all_cuts(log, name, check)


@pytest.mark.parametrize(("segments", "last"), LAST)
def test_repair_of_a_cut_last_index(tmp_path, segments, last):
    log = make_small_log(tmp_path / "log", segments)
    name = log.index_name(last)

    def check(size, data):
        log.damaged(name, data)
        check_repair(
            log, set(range(log.bases[last] + size // ENTRY, len(log.values))), set(), {name}
        )

    check_all_cuts(log, name, check)


@pytest.mark.parametrize(("segments", "last"), LAST)
def test_an_incomplete_index_tail_is_dropped_and_appends_go_on(tmp_path, segments, last):
    """Nothing else records the end: the writers were killed, and no other process has read it."""
    log = make_small_log(tmp_path / "log", segments)
    log.files["lock"] = log.files["lock"][:MARK_AT]
    name = log.index_name(last)

    def check(size, data):
        log.damaged(name, data)
        kept = log.bases[last] + size // ENTRY
        expected = dict(enumerate(log.values[:kept]))
        with log.open() as stream:
            assert_sound(stream, expected)
            check_arrow(log, set())
            with stream.producer() as producer:
                assert producer.send(TOPIC, NEW[0]) == (0, kept)
                assert producer.send(TOPIC, NEW[1]) == (0, kept + 1)
        with log.open() as stream:
            assert_sound(stream, {**expected, kept: NEW[0], kept + 1: NEW[1]})

    check_all_cuts(log, name, check)


@pytest.mark.parametrize(("segments", "hurt"), [(1, 0), (2, 0), (2, 1)])
def test_values_shorter_than_their_index_are_named(tmp_path, segments, hurt):
    log = make_small_log(tmp_path / "log", segments)
    name = log.values_name(hurt)

    def check(size, data):
        lost = lost_by_short_values(log, hurt, size)
        log.damaged(name, data)
        for max_records in (500, 1):
            with log.open() as stream:
                check_data(log, read_all(stream, max_records=max_records), lost, name)
        with log.open() as stream:
            found = damage_of(stream)
        assert found
        assert {o for d in found for o in range(d.first_offset, d.last_offset + 1)} == lost
        check_arrow(log, lost)
        append_and_check(log, len(log.values), lost)

    check_all_cuts(log, name, check)


@pytest.mark.parametrize(("segments", "hurt"), [(1, 0), (2, 0), (2, 1)])
def test_repair_of_short_values_keeps_all_that_is_whole(tmp_path, segments, hurt):
    log = make_small_log(tmp_path / "log", segments)
    name = log.values_name(hurt)

    def check(size, data):
        log.damaged(name, data)
        check_repair(log, lost_by_short_values(log, hurt, size), set(), {name})

    check_all_cuts(log, name, check)


def test_a_sealed_segments_short_index_is_named_and_the_next_segment_is_read(tmp_path):
    log = make_small_log(tmp_path / "log", 2)
    name = log.index_name(0)

    def check(size, data):
        log.damaged(name, data)
        lost = set(range(size // ENTRY, log.bases[1]))
        for max_records in (500, 1):
            with log.open() as stream:
                check_data(log, read_all(stream, max_records=max_records), lost, name)
        append_and_check(log, len(log.values), lost)

    check_all_cuts(log, name, check)


def test_repair_of_a_sealed_segments_short_index(tmp_path):
    log = make_small_log(tmp_path / "log", 2)
    name = log.index_name(0)

    def check(size, data):
        log.damaged(name, data)
        check_repair(log, set(range(size // ENTRY, log.bases[1])), set(), {name})

    check_all_cuts(log, name, check)


@pytest.mark.parametrize(("segments", "hurt"), [(1, 0), (2, 0), (2, 1)])
@pytest.mark.parametrize("file", ["index", "values"])
def test_a_missing_file_blocks_no_process_and_returns_no_wrong_value(
    tmp_path, segments, hurt, file
):
    log = make_small_log(tmp_path / "log", segments)
    name = log.index_name(hurt) if file == "index" else log.values_name(hurt)
    log.damaged(name, b"")
    (partition_directory(log.path) / name).unlink()
    with log.open() as stream:
        assert stream.end(TOPIC, 0) <= len(log.values)
        if file == "values":
            assert damage_of(stream)
        with stream.producer() as producer:
            _, offset = producer.send(TOPIC, NEW[0])
        reading = read_all(stream)
        assert reading.records.pop(offset) == NEW[0]
        assert set(reading.records) >= {
            o for s in range(segments) if s != hurt for o in log.in_segment(s) if o < offset
        }
        for old, value in reading.records.items():
            assert value == log.values[old]
