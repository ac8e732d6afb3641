"""Measure what more instances of a CPU-bound champion bring.

    python -m benchmarks.instances [--seconds 4] [--counts 1 2 4]

The model takes 2 ms of CPU a request, whatever the batch; the instances share four partitions as a
group. Clients, proxy and server need their part of the same cores. The oldest requests come first
(`when_behind = "all"`), so that latency shows how long all requests wait.
"""

from __future__ import annotations

import argparse
import os
import sys

from benchmarks.overload_setup import Answers, Load, Staged
from benchmarks.report import Figure, show

SLA_MS = 5_000.0
CLIENTS = 32
SCHEDULE = f"""
sla_ms = {SLA_MS}
default = 0
[[step]]
accept = ["champion"]
"""
MODEL = """
from time import thread_time_ns

def predict(rows):
    end_ns = thread_time_ns() + 2_000_000 * len(rows)
    while thread_time_ns() < end_ns:
        pass
    return [1] * len(rows)
"""


def run(count: int, seconds: float) -> Answers:
    models = {"champion": (MODEL, 'batch_max = 8\nwhen_behind = "all"')}
    with Staged(
        models, SCHEDULE, instances={"champion": count}, settings="partitions = 4"
    ) as staged:
        answers = staged.drive(Load(seconds, connections=CLIENTS), SLA_MS)
    print(
        f"{count} instances: {answers.per_s:,.0f}/s p50 {answers.p50_ms:.1f} "
        f"p99 {answers.p99_ms:.1f} ms {answers.by_model}",
        file=sys.stderr,
    )
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4])
    chosen = parser.parse_args()
    cores = os.cpu_count() or 1
    alone = run(1, chosen.seconds)
    figures = [
        Figure(
            "1 instance: requests/s, of 500 possible",
            f"{alone.per_s:,.0f} ({alone.per_s / 500:.0%})",
            "500",
            ">= 80%",
            alone.per_s >= 400,
        )
    ]
    for count in chosen.counts:
        if count > 1:
            many = run(count, chosen.seconds)
            ratio = many.per_s / alone.per_s
            least = 0.7 * min(count, cores)
            figures.append(
                Figure(
                    f"{count} instances: requests/s",
                    f"{many.per_s:,.0f} ({ratio:.2f} ×), p99 {many.p99_ms:.0f} ms",
                    f"{alone.per_s:,.0f}, p99 {alone.p99_ms:.0f} ms",
                    f">= {least:.1f} × (0.7 a core)",
                    ratio >= least,
                )
            )
    show("Instances of a champion of 2 ms CPU a request", figures)


if __name__ == "__main__":
    main()
