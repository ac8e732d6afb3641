from __future__ import annotations

import numpy as np
import pytest

from rdv.analysis.charts import (
    Axis,
    FrontierPoint,
    Mix,
    Rule,
    cumulative_chart,
    frontier_chart,
    histogram_chart,
    line_chart,
    qq_chart,
)
from rdv.analysis.statistics import quantile_pairs, wilson


def every_kind(name="gbm"):
    """Return one picture of each kind, with `name` as every name in it."""
    chance = np.random.default_rng(1)
    values = chance.gamma(2, 3, 2000)
    x = np.arange(300.0)
    y = np.where(x == 150, np.nan, np.sin(x / 30))
    points = [FrontierPoint(f"{name} {t}", t, wilson(900 + t, 1000), t == 20) for t in (5, 20, 40)]
    share = Axis("accuracy", measure="share")
    return [
        cumulative_chart(
            name, Axis(name, "ms", log=True), {name: values, "b": values * 2}, rules=[Rule(name, 9)]
        ),
        histogram_chart(name, Axis("score"), {name: values}, note=name),
        histogram_chart("two", Axis("score"), {name: values, "other": values + 1}),
        qq_chart("Q-Q", Axis(name), Axis("b"), quantile_pairs(values, values**2)),
        frontier_chart("frontier", Axis("p99", "ms"), share, points, rules=[Rule("aim", 30)]),
        line_chart(
            "lines",
            Axis("time", measure="time"),
            Axis("PSI"),
            {name: (x, y), "canary": (x, y / 2)},
            bands={name: (y - 0.1, y + 0.1)},
            rules=[Rule(name, 0.1, "y")],
        ),
        line_chart("log", Axis("x"), Axis("y", log=True), {name: ([1, 2, 3], [0, 10, 100])}),
        line_chart("nothing", Axis("x"), Axis("y"), {name: ([], [])}),
        Mix("mix", (name, "logit", "default"), ((name, (90, 8, 2)), ("none", (0, 0, 0)))),
    ]


@pytest.fixture(scope="session")
def pictures():
    return every_kind
