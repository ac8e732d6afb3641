"""Compare one request at a time (retail) with whole batches (wholesale), in a model of growing
width.

    python -m benchmarks.wholesale [--seconds 3] [--widths 64 256 1024 4096]

The model is a numpy network of two hidden layers of that width (20 inputs, float32, one thread)
behind a whole decision: proxy, worker, server. 64 clients that send without a pause measure the
throughput, one client measures the latency of an idle decision. Weights beyond the caches make a
row alone pay for all of them. The oldest requests come first (`when_behind = "all"`), so that
latency shows how long all requests wait: with unlimited time, newest first would serve some at once
and others never.
"""

from __future__ import annotations

import argparse
import sys
from typing import NamedTuple

from benchmarks.overload_setup import Answers, Load, Staged
from benchmarks.report import Figure, show

SLA_MS = 5_000.0
CLIENTS = 64
BATCH_MAX = 64
WAIT_MS = 5
SCHEDULE = f"""
sla_ms = {SLA_MS}
default = 0
[[step]]
accept = ["mlp"]
"""
MODEL = """
import numpy as np

rng = np.random.default_rng(1)
W1 = (rng.normal(size=(20, {width})) / 5).astype(np.float32)
W2 = (rng.normal(size=({width}, {width})) / {width} ** 0.5).astype(np.float32)
W3 = (rng.normal(size={width}) / {width} ** 0.5).astype(np.float32)


def predict(rows):
    hidden = np.maximum(np.array(rows, dtype=np.float32) @ W1, 0)
    return (np.maximum(hidden @ W2, 0) @ W3).tolist()
"""
BODY = '{"data": [' + ", ".join(f"0.{n}" for n in range(1, 20)) + ', #], "key": "user-#"}'


class Case(NamedTuple):
    """The answers for one way to evaluate, under load and with a single client."""

    loaded: Answers
    alone: Answers
    batch: float


def run(width: int, batch_max: int, wait_ms: int, seconds: float) -> Case:
    settings = f'when_behind = "all"\nbatch_max = {batch_max}\nbatch_wait_ms = {wait_ms}'
    with Staged({"mlp": (MODEL.format(width=width), settings)}, SCHEDULE) as staged:
        alone = staged.drive(Load(seconds, connections=1, body=BODY), SLA_MS)
        loaded = staged.drive(Load(seconds, connections=CLIENTS, body=BODY), SLA_MS)
        case = Case(loaded, alone, staged.reports("mlp").batch)
    print(
        f"width {width}, batch_max {batch_max}, wait {wait_ms} ms: {loaded.per_s:,.0f}/s "
        f"p50 {loaded.p50_ms:.1f} p99 {loaded.p99_ms:.1f} ms, batches of {case.batch:.0f}; "
        f"alone p50 {alone.p50_ms:.2f} ms; {loaded.by_model}",
        file=sys.stderr,
    )
    return case


def figures_of(width: int, seconds: float) -> list[Figure]:
    retail = run(width, 1, 0, seconds)
    whole = run(width, BATCH_MAX, 0, seconds)
    held = run(width, BATCH_MAX, WAIT_MS, seconds)
    figures = []
    for name, case in (("wholesale", whole), (f"wholesale, waiting up to {WAIT_MS} ms", held)):
        ours, theirs = case.loaded, retail.loaded
        ratio = ours.per_s / theirs.per_s
        figures += [
            Figure(
                f"width {width:,}, {name}: requests/s", f"{ours.per_s:,.0f} ({ratio:.1f} ×)",
                f"{theirs.per_s:,.0f}", ">= 1 ×", ratio >= 1,
            ),
            Figure(
                f"width {width:,}, {name}: p50 / p99 ms; p50 of one client",
                f"{ours.p50_ms:.1f} / {ours.p99_ms:.1f}; {case.alone.p50_ms:.2f}",
                f"{theirs.p50_ms:.1f} / {theirs.p99_ms:.1f}; {retail.alone.p50_ms:.2f}",
                "p50 not above", ours.p50_ms <= theirs.p50_ms,
            ),
        ]  # fmt: skip
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 256, 1024, 4096])
    chosen = parser.parse_args()
    figures = [f for width in chosen.widths for f in figures_of(width, chosen.seconds)]
    show(f"Wholesale (batches up to {BATCH_MAX}) against retail, {CLIENTS} clients", figures)


if __name__ == "__main__":
    main()
