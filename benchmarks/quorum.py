"""Measure what a quorum saves where delays have a heavy tail.

    python -m benchmarks.quorum [--requests 50000] [--processes]

There are 20 shards; an answer needs all of them, 95 % or 80 %. The engine decides, on its own
clock: the figures are exact and independent of this machine. Delays of a shard are independent:

    leaf    log-normal with median 1 ms and p95 5 ms, so p99 9.7 ms: the leaf servers of Dean and
            Barroso, The Tail at Scale (CACM 2013), have 1, 5 and 10 ms.
    pareto  alpha 1.5 from 1 ms on: p50 1.6 ms, p99 22 ms, p99.9 100 ms.

`--processes` also runs 20 shards as real processes that sleep, with the leaf's delays ten times as
long, at 10 requests/s.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from benchmarks.overload_setup import Load, Staged
from benchmarks.report import Figure, show
from rdv.rendezvous.engine import Engine
from rdv.rendezvous.messages import Request, Score, make_request_id
from rdv.rendezvous.schedule import schedule_from_object

SHARDS = 20
NEEDS = (1.0, 0.95, 0.8)
HOST = "here/boot"
SLA_MS = 10_000
GAP_NS = 20_000_000_000
"""The time between requests in ns, so long that they do not overlap: they are independent."""

SHARE_ERROR_MAX = 0.001
"""The maximum error of the share of shards. A shard that takes longer than the SLA costs a whole
request; with alpha 1.5 there is one.
"""

Delays = Callable[[np.random.Generator, int, int], Any]
SIGMA = np.log(5) / 1.6449


def leaf(chance: np.random.Generator, requests: int, shards: int) -> Any:
    return chance.lognormal(0.0, SIGMA, size=(requests, shards))


def pareto(chance: np.random.Generator, requests: int, shards: int) -> Any:
    return 1 + chance.pareto(1.5, size=(requests, shards))


def schedule(need: float, shards: int) -> dict[str, Any]:
    step = {"accept": [f"shard-{n}" for n in range(shards)], "need": need, "combine": "mean"}
    return {"sla_ms": SLA_MS, "default": 0, "step": [step]}


def decide(need: float, delays_ms: Any) -> tuple[Any, float]:
    """Return the milliseconds of each answer, and the share of the shards in an answer."""
    shards = delays_ms.shape[1]
    names = [f"shard-{n}" for n in range(shards)]
    live = schedule_from_object(schedule(need, shards), "live")
    engine = Engine(HOST, {"live": live}, "live", names)
    waited, reported, raw = [], 0, msgspec.Raw(b"1")
    for number, row in enumerate(delays_ms):
        start_ns = (number + 1) * GAP_NS
        id_ = make_request_id(b"0123456789", number)
        found = engine.request(Request(id_, start_ns, HOST, start_ns, "p", raw), start_ns)
        for shard in np.argsort(row):
            at_ns = start_ns + int(row[shard] * 1e6)
            if not found and (deadline_ns := engine.next_deadline()) is not None:
                found = engine.tick(deadline_ns) if deadline_ns <= at_ns else found
            found = found or engine.score(
                Score(id_, names[shard], "1", at_ns, 0.0, 1.0, 1, raw), at_ns
            )
            if found:
                break
        (result,) = found
        waited.append(result.waited_ms)
        reported += len((result.model or "").split("+")) if result.model else 0
    return np.array(waited), reported / (len(delays_ms) * shards)


def by_engine(name: str, delays: Delays, requests: int) -> list[Figure]:
    delays_ms = delays(np.random.default_rng(1), requests, SHARDS)
    figures, all_ms = [], None
    for need in NEEDS:
        waited_ms, share = decide(need, delays_ms)
        p50, p99, p999 = (float(np.percentile(waited_ms, p)) for p in (50, 99, 99.9))
        all_ms = all_ms or (p50, p99, p999)
        text = f"p50 {p50:.1f}, p99 {p99:.1f} ({p99 / all_ms[1]:.0%}), p999 {p999:.1f} ms"
        print(f"{name}, {need:.0%}: {text}", file=sys.stderr)
        bound, holds = f"{need:.0%} of the shards", abs(share - need) < SHARE_ERROR_MAX
        baseline = f"p50 {all_ms[0]:.1f}, p99 {all_ms[1]:.1f}, p999 {all_ms[2]:.1f} ms"
        figures.append(Figure(f"{name}, {need:.0%} of {SHARDS}", text, baseline, bound, holds))
    return figures


SHARD = """
import random, time
from math import log

chance = random.Random({seed})

def predict(rows):
    for _ in rows:
        time.sleep(0.01 * chance.lognormvariate(0, log(5) / 1.6449))
    return [1] * len(rows)
"""


def by_processes(shards: int, seconds: float) -> list[Figure]:
    """Measure with real processes; each request names its schedule, so the three run on the same
    ones.
    """
    models = {f"shard-{n}": (SHARD.format(seed=n), "batch_max = 1") for n in range(shards)}
    live = f"sla_ms = {SLA_MS}\ndefault = 0\n[[step]]\naccept = ['*']\n"
    figures, all_ms = [], None
    with Staged(models, live) as staged:
        for need in NEEDS:
            body = json.dumps({"data": 1, "key": "user-#", "schedule": schedule(need, shards)})
            answers = staged.drive(Load(seconds, rate=10.0, body=body), SLA_MS)
            text = (
                f"{answers.requests} requests, p50 {answers.p50_ms:.1f} p99 {answers.p99_ms:.1f} ms"
            )
            print(f"{shards} processes, {need:.0%}: {text}", file=sys.stderr)
            all_ms = all_ms or (answers.p50_ms, answers.p99_ms)
            asked = int(np.ceil(need * shards))
            figures.append(
                Figure(
                    f"{shards} processes, {need:.0%} ({asked})",
                    f"p50 {answers.p50_ms:.0f}, p99 {answers.p99_ms:.0f} ms "
                    f"({answers.p99_ms / all_ms[1]:.0%})",
                    f"p50 {all_ms[0]:.0f}, p99 {all_ms[1]:.0f} ms",
                    "no default",
                    not answers.share("default") and not answers.failed,
                )
            )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--processes", action="store_true")
    parser.add_argument("--seconds", type=float, default=30.0)
    chosen = parser.parse_args()
    figures = by_engine("leaf", leaf, chosen.requests)
    figures += by_engine("pareto", pareto, chosen.requests)
    show(f"A quorum of {SHARDS} shards, {chosen.requests:,} requests, by the engine", figures)
    if chosen.processes:
        show("The same over real processes", by_processes(SHARDS, chosen.seconds))


if __name__ == "__main__":
    main()
