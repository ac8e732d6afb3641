"""Check charts as values: axes, ticks, thinning, cells, and the kinds of chart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rdv.analysis.charts import (
    Axis,
    Chart,
    FrontierPoint,
    InvalidChart,
    Line,
    Mix,
    Points,
    Rule,
    cell,
    cumulative_chart,
    frontier_chart,
    histogram_chart,
    line_chart,
    qq_chart,
    share,
)
from rdv.analysis.charts.axis import extent, quantity, ticks
from rdv.analysis.charts.chart import thin_line, thin_rows
from rdv.analysis.charts.format import is_numeric, number, p_value, signed
from rdv.analysis.statistics import Digest, Interval, quantile_pairs

quick = settings(derandomize=True, deadline=None, max_examples=80)

NUMBER = Axis("value")
ENDS = st.floats(-1e9, 1e9)


@quick
@given(ENDS, ENDS, st.sampled_from(["number", "share"]))
def test_ticks_are_in_range_ascending_and_distinguishable(a, b, measure):
    low, high = min(a, b), max(a, b)
    assume(high - low > 1e-6 * max(abs(low), abs(high), 1e-3))
    found = ticks(Axis("value", measure=measure), low, high)
    values, texts = [value for value, _ in found], [text for _, text in found]
    slack = (high - low) * 1e-6
    assert 2 <= len(found) <= 10
    assert all(low - slack <= value <= high + slack for value in values)
    assert values == sorted(values)
    if high - low > 1e-3 * max(abs(low), abs(high)):
        assert len(set(texts)) == len(texts)


@quick
@given(st.floats(1e-6, 1e6), st.floats(1.05, 1e9))
def test_ticks_of_a_log_axis(low, factor):
    found = ticks(Axis("value", log=True), low, low * factor)
    values = [value for value, _ in found]
    assert 1 <= len(found) <= 12
    assert values == sorted(values)
    assert all(low * 0.999 <= value <= low * factor * 1.001 for value in values)


def test_ticks_are_round():
    assert [t for _, t in ticks(NUMBER, 0, 1)] == ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [t for _, t in ticks(NUMBER, 0, 12_000, 4)] == ["0", "5k", "10k"]
    percents = ticks(Axis("a", measure="share"), 0.9, 1, 4)
    assert percents[1] == (pytest.approx(0.925), "92.5")
    logs = ticks(Axis("a", log=True), 1, 60)
    assert [t for _, t in logs] == ["1", "2", "5", "10", "20", "50"]
    noon = 1_780_315_200
    assert [t for _, t in ticks(Axis("at", measure="time"), noon, noon + 100, 3)] == [
        "12:00", "12:01",
    ]  # fmt: skip
    day = ticks(Axis("at", measure="time"), noon, noon + 86_400, 4)
    assert [t for _, t in day] == ["12:00", "18:00", "02 Jun", "06:00", "12:00"]


def test_numbers_and_cells_as_people_write_them():
    assert [number(v) for v in (0, 0.090712, 12.54, 999.7, 12_345.6, -3.2e6)] == [
        "0", "0.0907", "12.5", "1,000", "12,346", "-3,200,000",
    ]  # fmt: skip
    assert [number(v) for v in (math.nan, math.inf, -math.inf)] == ["–", "∞", "-∞"]
    assert quantity(Axis("a", measure="share"), 0.125) == "12.5 %"
    assert quantity(Axis("a", "ms"), 12.5) == "12.5 ms"
    assert quantity(Axis("a", measure="time"), 0) == "1970-01-01 00:00:00 UTC"
    interval = Interval(0.95, 0.94691, 0.95288, 0.95, "Wilson")
    assert cell(interval) == "0.950 (0.947 to 0.953)"
    assert share(interval) == "95.0 % (94.7 to 95.3)"
    assert cell(Interval(1.0, -math.inf, 2, 0.95, "x")) == "1 (too few for an interval)"
    assert [cell(v) for v in (None, True, 12_345, np.float64(0.5), "a")] == [
        "–", "yes", "12,345", "0.5", "a",
    ]  # fmt: skip
    assert [is_numeric(v) for v in (share(0.5), 1, True, "1")] == [True, True, False, False]


def test_shares_differences_and_p_values_as_people_write_them():
    values = (0, 0.0009997, 0.938, 0.00004, 0.99996, 1, 1e-9, 1 - 1e-9, math.nan)
    assert [share(value) for value in values] == [
        "0 %", "0.1 %", "93.8 %", "0.004 %", "99.996 %", "100 %", "< 0.0001 %", "> 99.9999 %",
        "– %",
    ]  # fmt: skip
    assert share(Interval(0.52, 0.45, 0.59, 0.95, "x")) == "52.0 % (45.0 to 59.0)"
    assert [signed(v) for v in (0.5, -0.5, 0.0)] == ["+0.5", "-0.5", "0"]
    gain = Interval(0.019, 0.005, 0.033, 0.95, "x")
    assert signed(gain, scale=100, unit="points") == "+1.9 points (+0.5 to +3.3)"
    assert [p_value(p) for p in (0.5, 0.0234, 1e-13)] == ["p = 0.5", "p = 0.023", "p < 0.001"]


def test_an_axis_of_categories_has_a_tick_for_each():
    axis = Axis("cohort", categories=("fast", "slow"))
    chart = Chart("t", axis, NUMBER, (Points("a", np.array([0.1, 0.9]), np.ones(2)),))
    low, high = extent(chart, "x")
    assert (low, high) == (-0.5, 1.5)
    assert ticks(axis, low, high) == [(0.0, "fast"), (1.0, "slow")]
    assert [quantity(axis, value) for value in (0.1, 0.9)] == ["fast", "slow"]


def test_named_series_have_the_same_colours_in_all_charts():
    a, b, other = (Line(name, np.ones(2), np.ones(2)) for name in ("a", "b", "other"))
    palette = ("a", "b")
    assert Chart("t", NUMBER, NUMBER, (b, other, a), palette=palette).colours() == {
        "b": 1, "other": 2, "a": 0,
    }  # fmt: skip
    assert Chart("t", NUMBER, NUMBER, (b, a)).colours() == {"b": 0, "a": 1}


@quick
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=400), st.integers(10, 50))
def test_thinning_keeps_ends_and_extremes(values, limit):
    y = np.array(values)
    x = np.arange(len(y), dtype=float)
    thin_x, thin_y = thin_line(x, y, limit)
    assert len(thin_x) <= max(limit, 4)
    assert (thin_x[0], thin_x[-1]) == (0, len(y) - 1)
    assert (thin_y.min(), thin_y.max()) == (y.min(), y.max())
    assert (np.diff(thin_x) > 0).all()
    rows = thin_rows(len(y), limit)
    assert len(rows) <= limit
    assert (rows[0], rows[-1]) == (0, len(y) - 1)


def test_an_axis_goes_around_its_data():
    line = Line("a", np.array([1.0, 2.0, np.nan]), np.array([0.2, 0.9, 0.5]))
    chart = Chart("t", NUMBER, Axis("y", measure="share"), (line, Rule("limit", 5)))
    low, high = extent(chart, "x")
    assert low < 1
    assert high > 5
    assert extent(chart, "y")[1] < 1
    fixed = Chart("t", Axis("x", low=0, high=9), Axis("y"), (line,))
    assert extent(fixed, "x") == (0, 9)
    flat = Chart("t", NUMBER, NUMBER, (Line("a", np.ones(2), np.zeros(2)),))
    nothing = Chart("t", NUMBER, Axis("y", log=True), ())
    for one in (flat, nothing):
        for which in ("x", "y"):
            low, high = extent(one, which)
            assert low < high


def test_a_histogram_holds_everything_once():
    values = np.random.default_rng(1).exponential(size=1000) + 0.01
    for axis in (Axis("x"), Axis("x", log=True)):
        bars = histogram_chart("t", axis, {"a": values}).marks[0]
        assert bars.heights.sum() == pytest.approx(1)
        two = histogram_chart("t", axis, {"a": values, "b": values[:50]})
        assert [mark.y[1:-1].sum() for mark in two.marks] == pytest.approx([1, 1])
    assert histogram_chart("t", NUMBER, {"a": np.ones(9)}).marks[0].heights.sum() == 1
    for samples in ({}, {"a": []}, {"a": [np.nan]}):
        with pytest.raises(InvalidChart):
            histogram_chart("t", NUMBER, samples)
    with pytest.raises(InvalidChart, match="above 0"):
        histogram_chart("t", Axis("x", log=True), {"a": [0.0, 1.0]})


def test_a_frontier_goes_through_what_is_not_dominated():
    points = [
        FrontierPoint("a", 1, 0.5),
        FrontierPoint("b", 2, Interval(0.7, 0.6, 0.8, 0.95, "x"), is_chosen=True),
        FrontierPoint("worse", 3, 0.6),
        FrontierPoint("same time", 2, 0.65),
        FrontierPoint("c", 4, 0.9),
    ]
    line, tried, chosen = frontier_chart("t", NUMBER, NUMBER, points).marks
    assert line.x.tolist() == [1, 2, 4]
    assert line.y.tolist() == [0.5, 0.7, 0.9]
    assert tried.labels == ("a", "worse", "same time", "c")
    assert (chosen.y_low[0], chosen.y_high[0]) == (0.6, 0.8)
    with pytest.raises(InvalidChart):
        frontier_chart("t", NUMBER, NUMBER, [])


def test_a_cumulative_chart_takes_digests_and_a_qq_chart_has_its_diagonal():
    values = np.random.default_rng(1).exponential(size=1000)
    chart = cumulative_chart("t", NUMBER, {"a": values, "b": Digest(values)})
    for mark in chart.marks:
        assert np.interp(math.log(2), mark.x, mark.y) == pytest.approx(0.5, abs=0.05)
    diagonal, points = qq_chart("t", NUMBER, NUMBER, quantile_pairs(values, 2 * values)).marks
    assert diagonal.guide
    assert diagonal.x.tolist() == diagonal.y.tolist()
    assert len(points.x) == 99


def test_nonsense_is_refused_when_it_is_made():
    two, three = np.ones(2), np.ones(3)
    for mark in (
        Line("a", two, three),
        Points("a", two, two, two, three),
        Points("a", two, two, labels=("x",)),
        Rule("a", math.nan),
    ):
        with pytest.raises(InvalidChart):
            Chart("t", NUMBER, NUMBER, (mark,))
    with pytest.raises(InvalidChart, match="around no line"):
        line_chart("t", NUMBER, NUMBER, {}, bands={"a": (two, two)})
    with pytest.raises(InvalidChart, match="at most"):
        Chart("t", NUMBER, NUMBER, (Rule("a", 1),) * 51)
    for values in ((1.0,), (-1.0, 2.0), (math.nan, 1.0)):
        with pytest.raises(InvalidChart):
            Mix("t", ("a", "b"), (("row", values),))


def test_a_mix_is_made_whole():
    mix = Mix("t", ("a", "b"), (("row", (30, 10)), ("nothing", (0, 0))))
    assert mix.shares() == [("row", [0.75, 0.25]), ("nothing", [0, 0])]
