from __future__ import annotations

import pytest

from rdv.errors import InputFault
from rdv.load.generator import parse_threshold


@pytest.mark.parametrize(
    ("text", "metric", "comparison", "value"),
    [
        ("p99>50ms", "p99", ">", 50e6),
        (" p99.9 >= 1.5 s ", "p99.9", ">=", 1.5e9),
        ("p50<.5us", "p50", "<", 500.0),
        ("mean<=3µs", "mean", "<=", 3000.0),
        ("max>10ns", "max", ">", 10.0),
        ("errors>0", "errors", ">", 0.0),
        ("misses>0.1%", "misses", ">", 0.001),
        ("default>=0.05", "default", ">=", 0.05),
        ("fallback>100%", "fallback", ">", 1.0),
    ],
)
def test_what_is_understood(text, metric, comparison, value):
    threshold = parse_threshold(text)
    assert (threshold.metric, threshold.comparison) == (metric, comparison)
    assert threshold.value == pytest.approx(value)
    assert threshold.text == text.strip()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it must be METRIC"),
        ("p99", "it must be METRIC"),
        ("p99=5ms", "it must be METRIC"),
        ("p99>ms", "it must be METRIC"),
        ("p99>5", "it has no unit"),
        ("p99>5m", "'m' is not a unit of time"),
        ("p98>5ms", "no metric 'p98', only p50"),
        ("errors>5ms", "errors is a share"),
        ("errors>5", "more than all"),
        ("errors>101%", "more than all"),
    ],
)
def test_what_is_refused_says_why(text, says):
    with pytest.raises(InputFault, match=says) as caught:
        parse_threshold(text)
    assert "p99>50ms" in caught.value.hint()


def test_it_is_held_against_what_was_measured():
    threshold = parse_threshold("p99>50ms")
    assert threshold.violated({"p99": 50_000_001})
    assert not threshold.violated({"p99": 50_000_000})
    assert threshold.explain({"p99": 61.25e6}) == "p99 is 61.250 ms: p99>50ms"
    assert parse_threshold("errors>0").explain({"errors": 0.0125}) == "errors is 1.250%: errors>0"
    with pytest.raises(KeyError):
        threshold.violated({})
