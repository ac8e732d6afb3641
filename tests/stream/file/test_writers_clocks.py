"""Check that a writer's wrong clock gives wrong times to its own records only."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.stream import StreamConfig, open_stream
from rdv.stream.file.tail import ANEW_EVERY_NS
from rdv.stream.times import AHEAD_MAX_NS

SECOND_NS = 10**9
YEAR_NS = 365 * 86_400 * SECOND_NS
BEGIN_NS = 1_700_000_000 * SECOND_NS


def config(fsync="none", **more):
    return StreamConfig(partitions=1, retention_ms=None, fsync=fsync, **more)


def times_of(stream):
    with stream.consumer(["t"]) as consumer:
        found = []
        while records := consumer.poll(1000):
            found += [record.timestamp_ns for record in records]
    return found


def is_sound(stream):
    return not any(report.damage for report in stream.verify("t", 0))


@pytest.mark.parametrize("fsync", ["none", "always"])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_after_a_writer_that_was_ahead_the_times_are_right(tmp_path, fsync, is_restarted):
    ahead, right = FakeClock(step_ns=YEAR_NS), FakeClock()
    with (
        open_stream(str(tmp_path), config=config(fsync), clock=right) as stream,
        open_stream(str(tmp_path), config=config(fsync), clock=ahead) as other,
        other.producer() as wrong,
    ):
        with stream.producer() as producer:
            producer.send("t", b"1\n", partition=0)
            wrong.send("t", b"2\n", partition=0)
            if not is_restarted:
                right.move_to(BEGIN_NS + 5 * SECOND_NS)
                producer.send("t", b"3\n", partition=0)
        with stream.producer() as producer:
            right.move_to(BEGIN_NS + 5 * SECOND_NS)
            for _ in range(3):
                producer.send("t", b"4\n", partition=0)
                right.advance(SECOND_NS)
        since_ns = BEGIN_NS + 6 * SECOND_NS
        first = stream.offset_at("t", 0, since_ns)
        times_ns = times_of(stream)
        assert times_ns[1] == BEGIN_NS + YEAR_NS
        assert max(times_ns[2:]) < right.wall_ns()
        assert [time_ns >= since_ns for time_ns in times_ns[first:]] == [True, True]
        assert is_sound(stream)


def test_a_writer_killed_before_its_first_record_of_the_new_segment(tmp_path):
    """The new segment is empty: the next writer begins it with its own time."""
    clock = FakeClock(step_ns=YEAR_NS)
    with open_stream(str(tmp_path), config=config(), clock=clock) as stream:
        with stream.producer() as producer:
            producer.send("t", b"1\n", partition=0)
        clock.step_ns = 0
        with stream.producer() as producer:
            producer.send("t", b"2\n", partition=0)
        newest = max((tmp_path / "t" / "0").glob("*.index"))
        newest.write_bytes(b"")
        (tmp_path / "t" / "0" / "lock").unlink()
        with stream.producer() as producer:
            producer.send("t", b"3\n", partition=0)
        assert times_of(stream) == [BEGIN_NS + YEAR_NS, BEGIN_NS]


@pytest.mark.parametrize("step_ns", [SECOND_NS, AHEAD_MAX_NS])
def test_a_clock_that_is_a_little_ahead_makes_no_segments(tmp_path, step_ns):
    clock = FakeClock(step_ns=step_ns)
    with open_stream(str(tmp_path), config=config(), clock=clock) as stream:
        for step in (step_ns, 0, step_ns, 0):
            clock.step_ns = step
            with stream.producer() as producer:
                producer.send("t", b"1\n", partition=0)
        assert len(list((tmp_path / "t" / "0").glob("*.index"))) == 1
        assert times_of(stream) == sorted(times_of(stream))


@pytest.mark.parametrize("fsync", ["none", "always"])
def test_writers_that_take_turns_with_different_clocks_make_few_segments(tmp_path, fsync):
    ahead, right, turns = FakeClock(step_ns=YEAR_NS), FakeClock(), 200
    with (
        open_stream(str(tmp_path), config=config(fsync), clock=right) as stream,
        open_stream(str(tmp_path), config=config(fsync), clock=ahead) as other,
        stream.producer() as producer,
        other.producer() as wrong,
    ):
        for _ in range(turns):
            right.advance(SECOND_NS // 4)
            ahead.advance(SECOND_NS // 4)
            wrong.send("t", b"1\n", partition=0)
            producer.send("t", b"2\n", partition=0)
        count = len(list((tmp_path / "t" / "0").glob("*.index")))
        assert 2 <= count <= 2 + turns * SECOND_NS // 4 // ANEW_EVERY_NS
        assert len(times_of(stream)) == 2 * turns
        assert is_sound(stream)


appends = st.tuples(
    st.integers(0, 3), st.integers(0, 30), st.sampled_from([0, 0, 0, 50, 3600, -3600, 10**7])
)


@given(st.lists(appends, max_size=25), st.sampled_from([1, 10, 10**6]), st.booleans())
@settings(derandomize=True, deadline=None, max_examples=60)
def test_whatever_clocks_do_nothing_is_lost_and_lookups_divide_the_log(story, size, is_synced):
    clock, told = FakeClock(), []
    fsync = "always" if is_synced else "none"
    with (
        tempfile.TemporaryDirectory() as directory,
        open_stream(
            str(Path(directory) / "s"), config=config(fsync, segment_bytes=size), clock=clock
        ) as stream,
    ):
        stream.make_topic("t", 1)
        producers = [stream.producer() for _ in range(2)]
        for who, passed_s, step_s in story:
            clock.advance(passed_s * SECOND_NS)
            clock.step_ns = step_s * SECOND_NS
            _, offset = producers[who % 2].send("t", b"%d\n" % len(told), partition=0)
            assert offset == len(told)
            told.append(clock.wall_ns())
        for producer in producers:
            producer.close()
        assert is_sound(stream)
        times_ns = times_of(stream)
        assert len(times_ns) == len(told)
        assert all(found >= asked for found, asked in zip(times_ns, told, strict=True))
        for asked_ns in sorted({*times_ns, *(time_ns + 1 for time_ns in times_ns)}):
            first = stream.offset_at("t", 0, asked_ns)
            assert first == len(times_ns) or times_ns[first] >= asked_ns
        places = [stream.offset_at("t", 0, asked_ns) for asked_ns in sorted(times_ns)]
        assert places == sorted(places)
