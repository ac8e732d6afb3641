"""Measure a decision of `rdv.local` with three numpy networks, against the model itself.

    python -m benchmarks.local [--count 20000] [--where DIR]

The networks are those of `benchmarks.decision`. The first model of the schedule answers each
request, so one of three is evaluated; `all` evaluates all three. Goal: p50 at most 60 us.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

import rdv
from benchmarks.decision_setup import HIDDEN, INPUTS, MODEL, MODELS
from benchmarks.report import Figure, show
from rdv.models.python_file import load_module

GOAL_US = 60

SCHEDULE = """
sla_ms = 50
default = { score = 0.0 }

[[step]]
until_ms = 30
accept = ["gbm", "mlp", "logit"]

[[step]]
accept = ["*"]
"""

ALL = """
sla_ms = 50
default = { score = 0.0 }

[[step]]
need = "all"
combine = "mean"
accept = ["gbm", "mlp", "logit"]
"""


def write(directory: Path) -> None:
    """Write the decision."""
    (directory / "models").mkdir(parents=True)
    (directory / "schedules").mkdir()
    for seed, name in enumerate(MODELS):
        text = MODEL.format(seed=seed, inputs=INPUTS, hidden=HIDDEN)
        (directory / "models" / f"{name}.py").write_text(text)
    tables = "".join(f'[models.{name}]\npath = "models/{name}.py"\n' for name in MODELS)
    (directory / "rdv.toml").write_text(tables)
    (directory / "schedules" / "production.toml").write_text(SCHEDULE)
    (directory / "schedules" / "all.toml").write_text(ALL)


def measure(call: Callable[[Any], Any], rows: list[Any], count: int) -> tuple[float, float]:
    """Return the p50 and the p99 of a call, in microseconds."""
    times = np.empty(count)
    for number in range(count):
        row = rows[number % len(rows)]
        begun = time.perf_counter_ns()
        call(row)
        times[number] = time.perf_counter_ns() - begun
    return float(np.median(times) / 1e3), float(np.quantile(times, 0.99) / 1e3)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--where", default=None)
    options = parser.parse_args()
    rows = np.random.default_rng(1).normal(size=(1_000, INPUTS)).tolist()
    with tempfile.TemporaryDirectory(dir=options.where) as where:
        directory = Path(where, "numpy")
        write(directory)
        bare = load_module("bare", str(directory / "models" / "gbm.py"))

        def itself(row: Any) -> bytes:
            return orjson.dumps(bare.predict([row])[0])

        with (
            rdv.local(directory) as decision,
            rdv.local(directory, isolation="process") as isolated,
        ):
            calls: dict[str, Callable[[Any], Any]] = {
                "itself": itself,
                "local": decision.decide,
                "all": lambda row: decision.decide(row, schedule="all"),
                "isolated": isolated.decide,
            }
            assert decision.decide(rows[0], schedule="all").model == "gbm+mlp+logit"
            figures = []
            for name, call in calls.items():
                measure(call, rows, options.count // 10)
                p50_us, p99_us = measure(call, rows, options.count)
                print(f"{name:9} p50 {p50_us:7.1f} us  p99 {p99_us:7.1f} us", file=sys.stderr)
                figures.append((name, p50_us))
        found = dict(figures)
        baseline = f"{found['itself']:.0f} us for the first model itself"
        show(
            "Decisions in this process",
            [
                Figure(f"p50 of {what}", f"{found[name]:.0f} us", baseline, bound, is_held)
                for what, name, bound, is_held in (
                    (
                        "rdv.local, the champion answers",
                        "local",
                        "60 us",
                        found["local"] <= GOAL_US,
                    ),
                    ("rdv.local, all three models", "all", "60 us", found["all"] <= GOAL_US),
                    ("the same, isolated, the champion", "isolated", "-", True),
                )
            ],
        )


if __name__ == "__main__":
    main()
