"""Totals do not depend on how the log was split into readings, nor on kills of the console."""

from __future__ import annotations

import contextlib
import os
import shutil
import time

import msgspec
import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from made_log import BEGIN_NS, MODELS, MadeLog, make_requests, varied

from rdv.analysis.dataset.join import read_joined
from rdv.analysis.dataset.joined import KINDS
from rdv.console.bounded import OTHER, BoundedNames, Histograms
from rdv.console.console import Console
from rdv.console.exposition import exposition
from rdv.console.gauges import GrowingCounts
from rdv.console.recent import Recent
from rdv.console.totals import Totals
from rdv.decision import Decision, ModelConfig
from rdv.decision.outcome import Outcome
from rdv.live import Follower
from rdv.serve.proxy.shared_counts import ProxyCounts, SharedCounts
from rdv.system.faults import DiskFault

END_NS = 10**11


def made(directory):
    models = {name: ModelConfig(path=f"{name}.py") for name in MODELS}
    return Decision(directory=str(directory), name="fraud", models=models)


def open_console(directory, clock, *, saves=True):
    decision = made(directory)
    return Console(str(directory), lambda: decision, saves=saves, clock=clock)


def turn_all(console):
    while console.turn():
        pass


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    log = varied(300)
    log.partitions = 2
    return log


def totals_at_once(directory):
    shutil.rmtree(os.path.join(directory, ".rdv"), ignore_errors=True)  # from the log alone
    console = open_console(directory, FakeClock(BEGIN_NS + END_NS), saves=False)
    turn_all(console)
    console.close()
    return console


def counted(console):
    """Return the counters and histograms: kills change the order of labels, and no number."""
    saved = console.totals.saved()
    counters = {name: dict(values) for name, values in saved.counters.items()}
    histograms = {
        name: (bounds, {key: (counts, total) for key, counts, total in rows})
        for name, (bounds, rows) in saved.histograms.items()
    }
    return counters, histograms


def test_totals_are_those_of_the_log(tmp_path, log):
    log.write(tmp_path)
    console = totals_at_once(tmp_path)
    joined, _ = read_joined(str(tmp_path))
    by_kind = {kind: 0 for kind in KINDS if kind}
    for (kind, *_), count in console.totals.decisions.items():
        by_kind[kind] += count
    expected = {kind: int((joined.kind == code).sum()) for code, kind in enumerate(KINDS) if kind}
    assert by_kind == expected
    gbm = joined.outcome[joined.models.index("gbm")]
    assert console.totals.reports["gbm", "silent"] == int((gbm == 0).sum())
    assert console.totals.reports["gbm", "result"] == int((gbm == 1).sum())
    assert sum(n for (model, _), n in console.totals.reports.items() if model == "gbm") == 300
    assert sum(bucket.answers for bucket in console.recent.buckets) == 300
    both = (gbm == 1) & (joined.outcome[joined.models.index("logit")] == 1)
    assert console.totals.compared[("logit",)] == int(both.sum())
    assert 0 < console.totals.agreed[("logit",)] <= int(both.sum())
    late = (joined.kind != 0) & (joined.waited_ms * 1000 > joined.deadline_ms * 1000 + 0.5)
    assert sum(console.totals.late.values()) == int(late.sum()) > 0
    waited = sum(joined.waited_ms[~(joined.kind == 0)])
    assert sum(console.totals.duration.sums.values()) == pytest.approx(waited * 1000, abs=300)


STEPS = st.lists(st.tuples(st.integers(0, 20_000), st.booleans()), max_size=6).map(sorted)


@given(steps=STEPS, count=st.integers(1, 200))
@settings(max_examples=20, deadline=None)
def test_no_split_and_no_kill_changes_the_totals(tmp_path_factory, steps, count):
    directory = tmp_path_factory.mktemp("log")
    MadeLog(make_requests(count, gap_ms=25.0), partitions=2).write(directory)
    clock = FakeClock(BEGIN_NS)
    console = open_console(directory, clock)
    shown = 0
    for at_ms, is_killed in steps:
        clock.move_to(BEGIN_NS + at_ms * 10**6)
        turn_all(console)
        if is_killed:  # nothing is closed or saved besides
            console = open_console(directory, clock)
        assert sum(console.totals.decisions.values()) >= shown, "a counter went back"
        shown = sum(console.totals.decisions.values())
    clock.move_to(BEGIN_NS + END_NS)
    turn_all(console)
    once = totals_at_once(directory)
    assert counted(console) == counted(once)
    assert console.recent.buckets == once.recent.buckets


class Failing:
    """Fails at each second call of a method, after what it does."""

    def __init__(self, error):
        self.error, self.calls = error, 0

    def wrap(self, method):
        def called(*arguments):
            found = method(*arguments)
            self.calls += 1
            if self.calls % 2:
                raise self.error
            return found

        return called


@pytest.mark.parametrize(
    ("owner", "method", "error"),
    [
        (Follower, "_read_others", DiskFault("scores", "read", "EIO")),
        (Follower, "_hand_on", ValueError("a bug")),
        (Recent, "add", ValueError("a bug")),
    ],
    ids=["the log fails", "reading fails", "counting fails"],
)
def test_a_turn_that_fails_loses_nothing_and_counts_nothing_twice(
    tmp_path, monkeypatch, owner, method, error
):
    MadeLog(make_requests(120, gap_ms=100.0), partitions=2).write(tmp_path)
    clock = FakeClock(BEGIN_NS)
    console = open_console(tmp_path, clock)
    failing = Failing(error)
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, failing.wrap(getattr(owner, method)))
        for second in range(40):
            clock.move_to(BEGIN_NS + second * 10**9)
            with contextlib.suppress(ValueError):
                console.turn()
    assert failing.calls > 30
    clock.move_to(BEGIN_NS + END_NS)
    turn_all(console)
    once = totals_at_once(tmp_path)
    assert counted(console) == counted(once)
    console.close()


def console_that_reads(directory, outcome):
    """Return a console of a decision whose answers are read like that."""
    decision = msgspec.structs.replace(made(directory), outcome=outcome)
    clock = FakeClock(BEGIN_NS + END_NS)
    return Console(str(directory), lambda: decision, saves=True, clock=clock)


def test_too_many_different_answers_end_the_comparison_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr("rdv.analysis.dataset.values.CLASSES_MAX", 10)
    MadeLog(make_requests(150)).write(tmp_path)
    console = console_that_reads(tmp_path, Outcome(type="class", answer="score"))
    console.turn()
    assert "different values" in console.problem
    turn_all(console)
    assert sum(console.totals.decisions.values()) == 150
    assert not console.totals.compared
    console.close()


def test_answers_that_are_not_compared_are_not_read(tmp_path):
    MadeLog(make_requests(20)).write(tmp_path)
    console = console_that_reads(tmp_path, Outcome(type="ranking", answer="score"))
    seen = []
    console.listeners.append(seen.append)
    turn_all(console)
    assert [update.joined.value for update in seen if update.joined] == [None]
    console.close()


def test_the_lag_grows_while_nothing_can_be_read(tmp_path, monkeypatch, log):
    log.write(tmp_path)
    clock = FakeClock(BEGIN_NS + END_NS)
    console = open_console(tmp_path, clock)
    assert console.lag_s == -1
    assert b"rdv_decisions" not in exposition(console, "")[0], "the past would look like now"
    turn_all(console)
    assert 0 <= console.lag_s < 1
    assert b"rdv_decisions" in exposition(console, "")[0]

    def fail(_):
        raise DiskFault("scores", "read", "EIO")

    monkeypatch.setattr(Follower, "read", fail)
    clock.advance(60 * 10**9)
    assert not console.turn()
    assert console.lag_s >= 59
    console.close()
    again = open_console(tmp_path, clock)
    assert again.lag_s >= 59, "the next console knows it from what was saved"
    again.close()


def test_a_process_of_the_same_name_and_number_begins_again():
    counts = GrowingCounts()
    for count in (5.0, 6.0, 2.0, 3.0):
        counts.add("proxy-0/7", {"unwritten": count})
    assert counts.sums == {"unwritten": 9.0}


def test_counts_of_proxies_stay_while_a_file_cannot_be_read(tmp_path):
    for name, count in (("proxy-0", 3), ("proxy-1", 4)):
        shared = SharedCounts(str(tmp_path), name)
        shared.write({"refused": count}, {"in_flight": 1})
        shared.close()
    found = ProxyCounts(str(tmp_path))
    assert found.read(time.time_ns()).counts["refused"] == 7
    file = tmp_path / ".rdv" / "proxies" / "proxy-0.counts"
    file.rename(tmp_path / "away")
    file.mkdir()
    assert found.read(time.time_ns()).counts["refused"] == 7
    assert found.read(time.time_ns() + 10**11).gauges["in_flight"] == 0
    file.parent.rename(tmp_path / "gone")
    assert found.read(time.time_ns()).counts["refused"] == 7


def test_combinations_of_models_use_up_no_names_of_models(tmp_path, log):
    log.write(tmp_path)
    console = open_console(tmp_path, FakeClock(BEGIN_NS + END_NS), saves=False)
    console.totals._names["answer"] = BoundedNames(0)
    turn_all(console)
    assert {model for _, model, *_ in console.totals.decisions} <= {"", OTHER}
    assert set(MODELS) <= {model for model, _ in console.totals.reports}
    console.close()


def test_a_damaged_state_begins_with_the_log(tmp_path, log):
    log.write(tmp_path)
    clock = FakeClock(BEGIN_NS + END_NS)
    console = open_console(tmp_path, clock)
    turn_all(console)
    before = dict(console.totals.decisions)
    state = tmp_path / ".rdv" / "console" / "state.json"
    state.write_bytes(state.read_bytes()[:-100])
    console = open_console(tmp_path, clock)
    turn_all(console)
    assert dict(console.totals.decisions) == before


def test_a_console_that_does_not_save_writes_nothing(tmp_path, log):
    log.write(tmp_path)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    totals_at_once(tmp_path)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


@given(
    st.lists(st.lists(st.integers(0, 100), max_size=20), max_size=6),
    st.lists(st.integers(1, 99), max_size=6),
)
@settings(deadline=None)
def test_cumulative_counts_never_go_back(batches, bounds):
    import numpy as np

    found = Histograms([10, 50])
    seen: dict[int | None, int] = {}
    for values, bound in zip(batches, [*bounds, *[10] * len(batches)], strict=False):
        found.add(("a",), np.array(values, np.int64))
        found.add_bound(bound)
        now = dict(found.cumulative(("a",)))
        assert list(now.values()) == sorted(now.values())
        assert all(now[edge] >= count for edge, count in seen.items())
        seen = now
    assert seen.get(None, 0) == sum(map(len, batches[: len(batches)]))


def test_names_beyond_the_limit_are_counted_together():
    names = BoundedNames(2)
    assert [names.of(name) for name in ("a", None, "b", "c", "a", "d", "")] == [
        "a", "", "b", OTHER, "a", OTHER, "",
    ]  # fmt: skip


def test_totals_survive_saving(tmp_path, log):
    log.write(tmp_path)
    totals = totals_at_once(tmp_path).totals
    saved = msgspec.json.decode(msgspec.json.encode(totals.saved()), type=type(totals.saved()))
    again = Totals.load(saved)
    assert msgspec.json.encode(again.saved()) == msgspec.json.encode(totals.saved())
    assert again.live == totals.live
    assert again.live is not None
    assert again.live.name == "production"
    assert round(again.live.sla_ms) == 50
    assert {30_000, 45_000, 50_000} <= set(again.duration.bounds)
