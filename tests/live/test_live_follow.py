"""Following hands on each request once, whenever it is read and however often it starts anew."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from made_log import BEGIN_NS, MadeLog, MadeRequest, make_requests, make_score, varied

from rdv.analysis.dataset.join import read_joined
from rdv.analysis.dataset.joined import KINDS, OUTCOMES
from rdv.live import Follower, FollowState, load, save
from rdv.live.state import InputState
from rdv.rendezvous.messages import encode_result
from rdv.rendezvous.topology import backstop_topic
from rdv.stream import StreamConfig, open_stream

MS = 10**6
END_NS = 10**11
"""After the end of a made log, everything is handed on within this time."""


class Growing:
    """A log that is written up to a time, then further."""

    def __init__(self, directory: Path, log: MadeLog) -> None:
        self.directory = directory
        self._records = log.decide()
        self._clock = FakeClock(BEGIN_NS)
        self._streams = ExitStack()
        config = StreamConfig(partitions=log.partitions)
        self._producers = {}
        for name in ("input", "scores", "results", "control"):
            stream = open_stream(str(directory / name), config=config, clock=self._clock)
            self._streams.enter_context(stream)
            self._producers[name] = self._streams.enter_context(stream.producer())

    def write_until(self, wall_ns: int) -> None:
        while self._records and self._records[0][0] <= wall_ns:
            time_ns, where, topic, partition, line = self._records.pop(0)
            self._clock.move_to(time_ns)
            self._producers[where].send(topic, line, partition=partition)

    def close(self) -> None:
        self._streams.close()


def cells(joined) -> dict[str, tuple]:
    """Return what matters of each request, by id."""
    found = {}
    for row in range(len(joined)):
        reports = {
            name: OUTCOMES[joined.outcome[number, row]]
            for number, name in enumerate(joined.models)
            if joined.outcome[number, row]
        }
        kind = KINDS[joined.kind[row]]
        found[joined.id(row)] = (kind, joined.model.at(row), joined.label.at(row), reports)
    return found


def follow(directory, steps, log=None, **more):
    """Follow with readings at these times; at a negative one it is killed after the reading.

    A killed one forgets what it has handed on since it saved, as its successor repeats that.
    """
    clock, state, seen = FakeClock(BEGIN_NS), FollowState(), []
    follower = Follower(str(directory), clock=clock, **more)
    kept, too_late = {}, Counter()
    for at_ns, is_killed, is_saved in steps:
        if log is not None:
            log.write_until(BEGIN_NS + at_ns)
        clock.move_to(BEGIN_NS + at_ns)
        fresh, late = {}, Counter()
        while True:
            update = follower.read()
            if update.joined is not None:
                found = cells(update.joined)
                assert not set(found) & set(fresh)
                fresh |= found
            late += update.too_late
            if not update.has_more:
                break
        if is_saved:
            state = msgspec.json.decode(msgspec.json.encode(follower.state()), type=FollowState)
            assert not set(fresh) & set(kept), "a request was handed on twice"
            kept |= fresh
            too_late += late
        if is_killed or not is_saved:
            follower.close()
            follower = Follower(str(directory), state, clock=clock, **more)
        seen.append(len(fresh))
    follower.close()
    return kept, too_late


def test_everything_is_handed_on_as_a_study_joins_it(tmp_path):
    log = varied(300)
    log.write(tmp_path)
    joined, _ = read_joined(str(tmp_path))
    kept, _ = follow(tmp_path, [(END_NS, False, True)])
    assert kept == cells(joined)
    assert len(kept) == 300


@pytest.mark.parametrize("requests_max", [7, 60])
def test_a_long_log_is_read_in_bounded_parts(tmp_path, requests_max):
    log = varied(200)
    log.partitions = 2
    log.write(tmp_path)
    joined, _ = read_joined(str(tmp_path))
    kept, _ = follow(tmp_path, [(END_NS, False, True)], requests_max=requests_max)
    assert kept == cells(joined)


def test_what_retention_has_deleted_unread_is_passed_over_in_bounded_parts(tmp_path):
    MadeLog(make_requests(200)).write(tmp_path, segment_bytes=4_000, retention_bytes=20_000)
    with open_stream(str(tmp_path / "input"), look=True) as stream:
        begin, end = stream.begin("p-1", 0), stream.end("p-1", 0)
    assert 0 < begin < end - 14
    saved = FollowState({"p-1/0": InputState(0, 0)})
    follower = Follower(str(tmp_path), saved, requests_max=7, clock=FakeClock(BEGIN_NS + END_NS))
    first = follower.read()
    assert first.has_more, "the whole log was read at once"
    count = 0 if first.joined is None else len(first.joined)
    has_more = True
    while has_more:
        update = follower.read()
        count += 0 if update.joined is None else len(update.joined)
        has_more = update.has_more
    follower.close()
    assert count == end - begin
    assert follower.notes.lost >= begin


@pytest.mark.parametrize("code", ["bad_input", "not_logged", "overloaded", "record_too_large"])
def test_an_answer_of_a_proxy_that_asked_no_model_is_found(tmp_path, code):
    log = MadeLog(make_requests(3))
    log.write(tmp_path)
    answer = msgspec.structs.replace(
        log.results[log.requests[0].id],
        id="f" * 32,
        kind="default",
        code=code,
        answered_by="proxy",
    )
    clock = FakeClock(BEGIN_NS + 10**6)
    with open_stream(str(tmp_path / "results"), clock=clock) as stream, stream.producer() as sender:
        sender.send(backstop_topic("p-1"), encode_result(answer), partition=0)
    follower = Follower(str(tmp_path), clock=FakeClock(BEGIN_NS + END_NS))
    assert [one.code for _, one in follower.read().unasked] == [code]
    follower.close()


STEPS = st.lists(
    st.tuples(st.integers(0, 4_000 * MS), st.booleans(), st.booleans()), min_size=0, max_size=8
).map(lambda steps: [*sorted(steps), (END_NS, False, True)])


@given(steps=STEPS, seed=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_no_split_and_no_restart_changes_what_is_handed_on(tmp_path_factory, steps, seed):
    directory = tmp_path_factory.mktemp("growing")
    made = make_requests(120, seed, gap_ms=12.0)
    for one in made:  # deadlines differ, so that requests are not handed on in their order
        one.deadline_ms = [50.0, 900.0, 12.0][one.number % 3]
    late = [MadeRequest(1_000 + n, n * 40.0, [(3_000.0, make_score("x", "gbm"))]) for n in range(9)]
    for one in late:
        one.reports = [(3_000.0, make_score(one.id, "gbm"))]
    log = MadeLog(sorted(made + late, key=lambda one: one.at_ms), partitions=2)
    growing = Growing(directory, log)
    kept, too_late = follow(directory, steps, growing)
    growing.close()
    once, once_late = follow(directory, [(END_NS, False, True)])
    assert kept == once
    assert len(kept) == 129
    assert all(kept[one.id][3] == {} for one in late), "a report after its time counts nowhere"
    assert too_late["gbm"] <= 9
    del once_late


def test_a_request_waits_for_its_answer_for_a_bounded_time(tmp_path):
    answered = make_requests(3, gap_ms=1.0)
    log = MadeLog(answered)
    log.write(tmp_path)
    # The results are taken away: as if proxy and server had been killed.
    import shutil

    shutil.rmtree(tmp_path / "results")
    clock = FakeClock(BEGIN_NS + 5 * 10**9)
    follower = Follower(str(tmp_path), clock=clock)
    assert follower.read().joined is None
    assert follower.open_count == 3
    clock.move_to(BEGIN_NS + 30 * 10**9)
    joined = follower.read().joined
    assert [KINDS[kind] for kind in joined.kind] == [None] * 3
    assert follower.open_count == 0
    follower.close()


@pytest.mark.parametrize("is_read_meanwhile", [True, False], ids=["in time", "at once"])
def test_an_answer_that_comes_much_later_is_found_once(tmp_path, is_read_meanwhile):
    import shutil

    log = MadeLog(make_requests(3, gap_ms=1.0))
    log.write(tmp_path)
    shutil.rmtree(tmp_path / "results")
    clock, state = FakeClock(BEGIN_NS + 30 * 10**9), FollowState()
    if is_read_meanwhile:
        follower = Follower(str(tmp_path), clock=clock)
        assert len(follower.read().joined) == 3
        state = msgspec.json.decode(msgspec.json.encode(follower.state()), type=FollowState)
        follower.close()
    late = log.results[log.requests[1].id]
    clock.move_to(BEGIN_NS + 40 * 10**9)
    with open_stream(str(tmp_path / "results"), clock=clock) as stream, stream.producer() as sender:
        for topic in ("p-1", backstop_topic("p-1")):  # the second one is a repetition
            sender.send(topic, encode_result(late), partition=0)
    clock.move_to(BEGIN_NS + 50 * 10**9)
    follower = Follower(str(tmp_path), state, clock=clock)
    first, again = follower.read(), follower.read()
    assert [result.id for _, result in first.answered_late] == [late.id]
    assert [first.joined is None, again.answered_late] == [is_read_meanwhile, []]
    assert log.requests[1].id not in follower.state().unanswered
    follower.close()


@given(st.integers(0, 300), st.sets(st.integers(0, 299)))
@settings(deadline=None)
def test_open_offsets_survive_saving(extra, offsets):
    import numpy as np

    first = 1_000
    wanted = np.array(sorted(first + one for one in offsets), np.int64)
    state = InputState.of(first + 300 + extra, wanted)
    again = msgspec.json.decode(msgspec.json.encode(state), type=InputState)
    assert again.open_offsets().tolist() == wanted.tolist()


def test_a_saved_file_that_is_damaged_counts_as_none(tmp_path):
    path = str(tmp_path / "live" / "state.json")
    assert load(path, FollowState) is None
    save(path, FollowState({"p-1/0": InputState(3, 4)}))
    assert load(path, FollowState) == FollowState({"p-1/0": InputState(3, 4)})
    Path(path).write_bytes(b'{"input": {"p-1')
    assert load(path, FollowState) is None


def test_before_the_first_reading_the_state_is_the_one_that_was_given(tmp_path):
    log = varied(60)
    log.partitions = 2
    growing, clock = Growing(tmp_path, log), FakeClock(BEGIN_NS + 100 * MS)
    growing.write_until(BEGIN_NS + 100 * MS)
    first = Follower(str(tmp_path), clock=clock)
    first.read()
    state = first.state()
    assert first.open_count
    assert any(one.open for one in state.input.values())
    first.close()
    unread = Follower(str(tmp_path), state, clock=clock)
    assert unread.state() == state
    unread.close()
    # Where the partitions cannot be found now, the open requests are kept for later.
    elsewhere = Follower(str(tmp_path / "elsewhere"), state, clock=clock)
    elsewhere.read()
    assert elsewhere.state().input == state.input
    elsewhere.close()
    growing.close()
