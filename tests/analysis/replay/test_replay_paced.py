"""Check how many requests a worker on its own clock would have answered in time."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.reading import Reading
from rdv.analysis.dataset.values import Extract
from rdv.analysis.replay.child import ERROR, NOTHING, RESULT, Evaluated
from rdv.analysis.replay.job import worker_backlog
from rdv.analysis.replay.paced import HOP_MS, replay_paced
from rdv.analysis.replay.rows import Spill
from rdv.analysis.replay.source import Stretch
from rdv.analysis.replay.study import Recorder, Replayed
from rdv.decision import ModelConfig
from rdv.rendezvous.messages import Request

MS = 1_000_000
BEGIN_NS = 1_700_000_000 * 10**9


class Made:
    """Yield requests at these times in milliseconds."""

    def __init__(self, times_ms, deadline_ms=50.0, windows_ms=None):
        self.notes, self.total = Notes(), len(times_ms)
        self._requests = [
            Request(
                f"r{n}",
                BEGIN_NS + int(at * MS),
                "h",
                0,
                "p-1",
                msgspec.Raw(b"1"),
                deadline_ms=deadline_ms,
                windows_ms=windows_ms or {},
            )
            for n, at in enumerate(times_ms)
        ]

    def __iter__(self):
        times = [request.time_ns for request in self._requests]
        yield Stretch(self._requests, [b"1"] * len(times), times)


class Takes:
    """The model takes a fixed time for a batch, and a time for each row of it."""

    version, ends = "1", 0

    def __init__(self, batch_ms, row_ms=0.0, code=RESULT):
        self.batch_ms, self.row_ms, self.code = batch_ms, row_ms, code
        self.batches = []

    def evaluate(self, rows):
        self.batches.append(len(rows))
        took_ns = int((self.batch_ms + self.row_ms * len(rows)) * MS)
        return Evaluated(bytes([self.code]) * len(rows), [b"0.5"] * len(rows), took_ns)


def paced(source, model, speed=1.0, **settings):
    found = Replayed("new", "1")
    spill = Spill()
    recorder = Recorder(found, spill, lambda _: Extract(Reading("number")))
    backlog = worker_backlog(ModelConfig(path="x.py", **settings))
    pace = replay_paced(source, model, recorder, found, backlog, speed=speed)
    rows = spill.rows
    spill.close()
    assert found.requests == pace.requests == rows == source.total
    return pace


def test_one_that_is_quick_enough_is_in_time_for_all():
    model = Takes(2)
    pace = paced(Made(range(0, 1_000, 10)), model)
    assert pace.in_time == pace.in_turn == 100
    assert model.batches == [1] * 100
    assert set(pace.waited_ms) == {2 + HOP_MS}
    assert pace.busy_ns == 200 * MS
    assert pace.recorded_s == pytest.approx(0.99)


def test_ten_times_as_fast_they_come_in_batches():
    """With 2 ms a batch and a request each 1 ms, every batch but the first has two requests."""
    model = Takes(2)
    pace = paced(Made(range(0, 1_000, 10)), model, speed=10)
    assert pace.in_time == 100
    assert model.batches[0] == 1
    assert set(model.batches[1:-1]) == {2}
    assert pace.recorded_s == pytest.approx(0.099)


def test_a_slow_one_refuses_what_it_is_too_late_for():
    """With 20 ms a row, a request each 10 ms and 55 ms to answer, it can answer half at best."""
    pace = paced(Made(range(0, 10_000, 10), deadline_ms=55.0), Takes(0, 20))
    assert pace.behind + pace.expired > 400
    assert 490 < pace.in_time < 510
    assert pace.late < 20
    assert pace.waiting_max < 20


def test_one_that_shall_see_everything_falls_behind():
    pace = paced(Made(range(0, 2_000, 10)), Takes(0, 20), when_behind="all")
    assert (pace.behind, pace.expired) == (0, 0)
    assert pace.late > 150
    assert pace.waiting_max > 50


def test_the_turn_in_the_schedule():
    source = Made(range(0, 1_000, 10), windows_ms={"new": 2.0})
    pace = paced(source, Takes(5), when_behind="all")
    assert (pace.in_time, pace.in_turn) == (100, 0)
    source = Made(range(0, 1_000, 10), windows_ms={"other": 2.0})
    assert paced(source, Takes(5), when_behind="all").in_turn == 100


def test_errors_improve_no_figure_and_a_missing_answer_is_no_error():
    assert paced(Made([0, 10]), Takes(1, code=ERROR)).failed == 2
    assert paced(Made([0, 10]), Takes(1, code=NOTHING)).in_time == 2


def test_a_larger_batch_may_be_waited_for():
    model = Takes(5, 0.1)
    paced(Made(range(0, 2_000, 2)), model, batch_wait_ms=20.0)
    assert sum(model.batches) == 1_000
    quick = Takes(5, 0.1)
    paced(Made(range(0, 2_000, 2)), quick)
    assert len(model.batches) <= len(quick.batches)


def test_a_day_of_silence_takes_no_time():
    assert paced(Made([0, 86_400_000]), Takes(1)).in_time == 2


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.lists(st.floats(0, 200), min_size=1, max_size=60),
    st.floats(0, 30),
    st.floats(0, 5),
    st.sampled_from([0.5, 1.0, 7.0]),
    st.sampled_from(["skip", "all"]),
    st.sampled_from([0.0, 5.0]),
)
def test_every_request_ends_in_one_way(gaps, batch_ms, row_ms, speed, when_behind, wait_ms):
    """This holds also when a wall clock was set back. No batch is too large or overlaps another."""
    model = Takes(batch_ms, row_ms)
    settings = {"when_behind": when_behind, "batch_wait_ms": wait_ms, "batch_max": 8}
    pace = paced(Made(gaps), model, speed, **settings)
    assert sum(model.batches) == pace.in_time + pace.late + pace.failed
    assert max(model.batches, default=0) <= 8
    assert pace.in_turn <= pace.in_time
    assert all(waited >= batch_ms for waited in pace.waited_ms)
