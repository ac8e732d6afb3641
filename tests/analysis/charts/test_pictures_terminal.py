from __future__ import annotations

import re

import numpy as np
import pytest

from rdv.analysis.charts import Axis, Chart, Line, Mix, Rule, render

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("width", [40, 78, 120])
@pytest.mark.parametrize("name", ["gbm", "\x1b]0;owned\x07\n\t", "a" * 300])
def test_it_fits_and_carries_no_escapes(pictures, width, name):
    for picture in pictures(name):
        drawn = render(picture, width=width, height=15)
        assert all(char == "\n" or char.isprintable() for char in drawn)
        assert all(len(line) <= width for line in drawn.splitlines()), drawn
        assert len(drawn.splitlines()) < 40


def test_colour_is_only_colour(pictures):
    for picture in pictures():
        drawn = render(picture, colour=True)
        bare = ESCAPE.sub("", drawn)
        assert all(char == "\n" or char.isprintable() for char in bare)
        assert drawn != bare or "nothing" in drawn
        for line in bare.splitlines():
            assert len(line) <= 78


def test_names_axes_and_units_are_there(pictures):
    drawn = render(pictures()[4])
    for word in ("frontier", "accuracy (%)", "p99 (ms)", "tried", "chosen", "aim"):
        assert word in drawn
    assert "nothing" in render(pictures()[8])
    assert "90.0 %" in render(pictures()[8])


def test_one_drawing_leaves_nothing_to_the_next(pictures):
    chart, other = pictures()[1], pictures()[5]
    first = render(chart)
    render(other, colour=True)
    assert render(chart) == first


def test_a_rising_line_rises():
    x = np.arange(100.0)
    line = Line("a", x, x)
    drawn = render(Chart("t", Axis("x"), Axis("y"), (line,)), width=40, height=12)
    rows = [row for row in drawn.splitlines() if "│" in row or "┤" in row]
    starts = [match.start() for row in rows if (match := re.search("[\u2801-\u28ff]", row))]
    assert starts == sorted(starts, reverse=True)
    assert len(starts) > 5


def test_a_rule_on_a_log_axis_has_the_right_place():
    line = Line("a", np.array([1.0, 100.0]), np.array([0.0, 0.0]))
    chart = Chart("t", Axis("x", log=True, low=1, high=100), Axis("y"), (line, Rule("half", 10)))
    drawn = render(chart, width=61, height=12).splitlines()
    frame = next(row for row in drawn if "┬" in row and "┌" in row)
    assert frame.index("┬") == pytest.approx((frame.index("┌") + frame.index("┐")) / 2, abs=2)


def test_sizes_are_kept_within_reason(pictures):
    picture = pictures()[0]
    assert render(picture, width=1, height=1) == render(picture, width=30, height=8)
    mix = Mix("t", ("a", "b"), (("row", (1, 1)),))
    bar = next(row for row in render(mix, width=40).splitlines() if "│" in row)
    assert bar.count("█") == pytest.approx(bar.count("▒"), abs=1)
