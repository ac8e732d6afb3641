"""Totals do not depend on how the log was split into readings, nor on kills of the console."""

from __future__ import annotations

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
from rdv.console.totals import Totals
from rdv.decision import Decision, ModelConfig

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
    console = open_console(directory, FakeClock(BEGIN_NS + END_NS), saves=False)
    turn_all(console)
    console.close()
    return console


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
    assert msgspec.json.encode(console.totals.saved()) == msgspec.json.encode(once.totals.saved())
    assert console.recent.buckets == once.recent.buckets


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
