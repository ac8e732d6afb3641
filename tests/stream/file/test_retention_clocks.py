"""Check that no wrong clock deletes a record early: neither its writer's nor the deleting one."""

from __future__ import annotations

import os

import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.stream import StreamConfig, open_stream
from rdv.stream.file.retention import (
    NEVER_OLD_NS,
    Note,
    SegmentFacts,
    believable_times,
    expired,
    judge,
)

HOUR_NS = 3_600 * 10**9
YEAR_NS = 365 * 24 * HOUR_NS
BEGIN_NS = 1_700_000_000 * 10**9
CONFIG = StreamConfig(
    partitions=1, segment_bytes=1, retention_ms=24 * 3_600_000, fsync="none"
)  # one segment for each record, kept for a day


def append(path, clock, count=1):
    with open_stream(str(path), config=CONFIG, clock=clock) as stream:
        with stream.producer() as producer:
            for _ in range(count):
                producer.send("t", b"1\n", partition=0)
        return stream.begin("t"), stream.end("t")


def age_files(path, clock):
    """Set the files' times, as a file system with a right clock does."""
    for file in (path / "t" / "0").glob("*"):
        if file.name != "clock" and file.stat().st_mtime_ns > BEGIN_NS + 2 * YEAR_NS:
            wall_ns = clock.wall
            os.utime(file, ns=(wall_ns, wall_ns))


@pytest.mark.parametrize("ahead_ns", [2 * 24 * HOUR_NS, YEAR_NS])
def test_a_clock_that_is_ahead_deletes_nothing(tmp_path, ahead_ns):
    clock = FakeClock(BEGIN_NS)
    append(tmp_path, clock, 5)
    clock.step_ns = ahead_ns
    assert append(tmp_path, clock, 5) == (0, 10)
    clock.step_ns = 0
    clock.advance(HOUR_NS)
    assert append(tmp_path, clock, 5) == (0, 15)


def test_what_a_clock_ahead_has_written_is_deleted_in_time(tmp_path):
    clock = FakeClock(BEGIN_NS)
    append(tmp_path, clock, 5)
    clock.step_ns = YEAR_NS
    append(tmp_path, clock, 5)
    age_files(tmp_path, clock)
    clock.step_ns = 0
    begin = 0
    for _ in range(60):  # two and a half days
        clock.advance(HOUR_NS)
        begin, _ = append(tmp_path, clock)
        age_files(tmp_path, clock)
    assert begin > 10


def test_a_clock_that_stays_ahead_is_believed_after_a_while(tmp_path):
    """A machine that starts in 1970 and then learns the time must not keep all records for ever."""
    clock = FakeClock(BEGIN_NS)
    append(tmp_path, clock, 5)
    clock.step_ns = YEAR_NS
    begins = []
    for _ in range(40):
        clock.advance(HOUR_NS)
        begins.append(append(tmp_path, clock)[0])
    assert begins[10] == 0
    assert begins[-1] >= 5


def test_a_clock_that_was_set_back_deletes_nothing_early_and_goes_on(tmp_path):
    clock = FakeClock(BEGIN_NS)
    append(tmp_path, clock, 5)
    clock.step_ns = -HOUR_NS
    assert append(tmp_path, clock, 5) == (0, 10)
    for _ in range(60):
        clock.advance(HOUR_NS)
        begin, end = append(tmp_path, clock)
        age_files(tmp_path, clock)
    assert 10 < begin < end


def test_without_a_note_the_newest_record_says_what_time_it_was(tmp_path):
    """A partition of rdv 0.1.0 has no note."""
    clock = FakeClock(BEGIN_NS)
    append(tmp_path, clock, 5)
    (tmp_path / "t" / "0" / "clock").unlink()
    clock.step_ns = YEAR_NS
    assert append(tmp_path, clock, 5) == (0, 10)


def test_in_its_time_everything_goes(tmp_path):
    clock = FakeClock(BEGIN_NS)
    append(tmp_path, clock, 5)
    clock.advance(25 * HOUR_NS)
    age_files(tmp_path, clock)
    append(tmp_path, clock, 2)
    begin, _ = append(tmp_path, clock)
    assert begin == 0 or begin >= 5


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1, max_size=6),
    st.integers(0, 10**12),
)
@settings(derandomize=True, deadline=None)
def test_a_segment_is_never_older_than_what_is_believable_of_it(times, now_ns):
    facts = [SegmentFacts(n, n + 1, 1, last, changed) for n, (last, changed) in enumerate(times)]
    for (last_ns, changed_ns), found_ns in zip(times, believable_times(facts, now_ns), strict=True):
        if last_ns <= now_ns:
            assert found_ns >= last_ns
            if changed_ns <= now_ns:
                assert found_ns >= changed_ns
    unknown = [fact._replace(last_time_ns=NEVER_OLD_NS) for fact in facts]
    assert expired(unknown, CONFIG, now_ns, None) == 0


steps = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from([0, 0, 0, 1, -1, 24, -24, 8760])), max_size=30
)


@given(steps)
@settings(derandomize=True, deadline=None)
def test_time_to_delete_by_never_runs_ahead_of_what_has_passed(story):
    """Whatever the wall clock does, unless it keeps a step for the whole time of confirmation."""
    confirm_ns = 12 * HOUR_NS
    note = Note(b"b" * 16, BEGIN_NS, 0, 0, 0)
    passed_ns = step_ns = held_ns = 0
    for hours, step_hours in story:
        passed_ns += hours * HOUR_NS
        held_ns = 0 if step_hours else held_ns + hours * HOUR_NS
        step_ns += step_hours * HOUR_NS
        now = Note(b"b" * 16, BEGIN_NS + passed_ns + step_ns, passed_ns, 0, 0)
        found_ns, note = judge(note, now, confirm_ns)
        assert found_ns <= now.wall_ns
        if held_ns < confirm_ns and step_ns > 0 and step_hours > 0:
            assert found_ns < now.wall_ns
