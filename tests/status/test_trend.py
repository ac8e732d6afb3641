"""Check the figures of the last minutes, and the sparklines of them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.rendezvous.messages import Result
from rdv.status.trend import STEP_S, STEPS, TARGET, Trend, sparkline
from rdv.status.window import percentile

STEP_NS = STEP_S * 10**9
END = (STEPS + 3) * STEP_NS


def result(kind="preferred", model="gbm", waited_ms=10.0, by="server"):
    return Result(
        id="x",
        reply_to="p-1",
        kind=kind,
        model=model if kind != "default" else None,
        result=msgspec.Raw(b"0"),
        waited_ms=waited_ms,
        schedule="s@1",
        answered_by=by,
    )


def figures(trend):
    return trend.figures(END)


def test_each_step_has_its_own_answers_and_the_budget_counts_late_ones_and_defaults():
    trend = Trend()
    last = END - STEP_NS
    for _ in range(8):
        trend.add(last, result(), lambda _: 60.0)
    trend.add(last, result("default", by="proxy", waited_ms=60.1), lambda _: 60.0)
    trend.add(last, result("fallback", "mlp", waited_ms=90.0, by="proxy"), lambda _: 60.0)
    trend.add(last, result(waited_ms=90.0), lambda _: 60.0)  # the proxy had answered by then
    trend.add(last - STEP_NS, result(), lambda _: None)
    trend.add(END, result(), lambda _: 60.0)  # this step is not over
    found = figures(trend)
    assert len(found["rates"]) == STEPS
    assert found["rates"][-2:] == [1 / STEP_S, 10 / STEP_S]
    assert found["defaults"][-3:] == [None, 0.0, 0.1]
    assert found["models"]["gbm"][-2:] == [1.0, 0.8]
    assert found["models"]["mlp"][-2:] == [0.0, 0.1]
    budget = found["budget"]
    assert (budget["answers"], budget["bad"]) == (11, 2)
    assert budget["burn_rate"] == pytest.approx(2 / 11 / (1 - TARGET))


def test_without_answers_nothing_is_known():
    found = figures(Trend())
    assert set(found["rates"]) == {0.0}
    assert set(found["p99_ms"]) == {None}
    assert found["budget"]["burn_rate"] is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.02, 60_000), min_size=1, max_size=300))
def test_a_percentile_is_at_most_five_percent_above_the_exact_one(waits):
    trend = Trend()
    for wait in waits:
        trend.add(END - STEP_NS, result(waited_ms=wait), lambda _: None)
    exact = percentile(sorted(waits), 99.0)
    assert exact <= figures(trend)["p99_ms"][-1] * (1 + 1e-9)
    assert figures(trend)["p99_ms"][-1] <= exact * 1.0501


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.text(max_size=5)), max_size=300))
def test_its_memory_is_bounded(events):
    trend = Trend()
    for time_s, model in events:
        trend.add(time_s * 10**9, result(model=model or "x"), lambda _: None)
        assert len(trend._steps) <= STEPS + 1


@given(
    st.lists(st.none() | st.floats(0, 1e9), max_size=200),
    st.integers(1, 100),
    st.none() | st.floats(1, 1e9),
)
def test_a_sparkline_fits_and_shows_the_peak(values, columns, most):
    line = sparkline(values, columns, most)
    assert len(line) <= columns
    assert set(line) <= set(" ▁▂▃▄▅▆▇█")
    known = [value for value in values if value is not None]
    assert bool(line.strip()) == bool(known)
    if known and max(known) > 0 and (most is None or max(known) >= most):
        assert "█" in line
    assert sparkline(values, 200, most)[-1:] == line[-1:] or columns < 200
