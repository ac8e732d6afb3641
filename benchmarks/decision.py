"""Measure decisions a second, and the latency that a decision costs, against a bare HTTP echo.

    python -m benchmarks.decision [--rounds 3] [--seconds 3] [--where DIR]

The decision has file streams, three numpy networks, one proxy and one server; the load generator is
a process of its own on the same machine. Decision and echo take turns; the best of the rounds
counts, since other work on the machine only ever makes a round worse. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable

from benchmarks.decision_client import Measured
from benchmarks.decision_setup import MODELS, Running, bodies
from benchmarks.http_echo import Echo
from benchmarks.report import Figure, show


def drive(port: int, connections: int, seconds: float, rate: float = 0.0) -> Measured:
    """Run the client once."""
    work = {"port": port, "connections": connections, "seconds": seconds, "rate": rate}
    command = [sys.executable, "-m", "benchmarks.decision_client", json.dumps(work)]
    done = subprocess.run(command, input=bodies(), stdout=subprocess.PIPE, check=True)
    return Measured(**json.loads(done.stdout))


class Duel:
    """Run the echo and the decision in turns."""

    def __init__(self, running: Running, echo: Echo, rounds: int, seconds: float) -> None:
        self._running, self._echo = running, echo
        self._rounds, self._seconds = rounds, seconds
        self.answers = 0
        self.kinds: dict[str, int] = {}

    def run(self, connections: int, rate: float = 0.0) -> tuple[list[Measured], list[Measured]]:
        echoes, decisions = [], []
        for _ in range(self._rounds):
            echoes.append(drive(self._echo.port, connections, self._seconds, rate))
            before = self._running.cpu_s()
            decisions.append(drive(self._running.port, connections, self._seconds, rate))
            self._tell(decisions[-1], before)
        return echoes, decisions

    def _tell(self, run: Measured, before: dict[str, float]) -> None:
        self.answers += run.answers
        for kind, count in run.kinds.items():
            self.kinds[kind] = self.kinds.get(kind, 0) + count
        used = {n: s - before[n] for n, s in self._running.cpu_s().items()}
        costs = {name: round(1e6 * s / run.answers, 1) for name, s in used.items()}
        costs["client"] = round(run.client_us, 1)
        print(
            f"{run.per_s:9,.0f}/s  p50 {run.p50_us:7,.0f} us  p99 {run.p99_us:7,.0f} us"
            f"  CPU us each {costs}  {run.kinds}",
            file=sys.stderr,
        )


def best(runs: list[Measured], value: Callable[[Measured], float], *, most: bool = False) -> float:
    return (max if most else min)(map(value, runs))


def closed(duel: Duel, connections: int, bounds: tuple[float, float]) -> list[Figure]:
    echoes, decisions = duel.run(connections)
    per_s, share = bounds
    ours = best(decisions, lambda run: run.per_s, most=True)
    theirs = best(echoes, lambda run: run.per_s, most=True)
    return [
        Figure(
            f"closed loop, {connections} connections: decisions/s",
            f"{ours:,.0f} ({ours / theirs:.0%})",
            f"{theirs:,.0f}",
            f">= {per_s:,.0f} and {share:.0%}",
            ours >= per_s and ours >= share * theirs,
        )
    ]


def alone(duel: Duel, limit_us: float) -> list[Figure]:
    """Measure one client that sends one request at a time."""
    echoes, decisions = duel.run(1)
    ours, theirs = (best(runs, lambda run: run.p50_us) for runs in (decisions, echoes))
    return [latency("one client: p50 us", ours, theirs, limit_us, f"<= {limit_us:.0f}")]


def open_loop(duel: Duel, rate: float, extra_us: float) -> list[Figure]:
    """Require a p50 within `extra_us` of the echo's, and a p99 within twice the echo's."""
    echoes, decisions = duel.run(32, rate)
    name = f"open loop, {rate:,.0f}/s"
    ours, theirs = (best(runs, lambda run: run.p50_us) for runs in (decisions, echoes))
    ours_99, theirs_99 = (best(runs, lambda run: run.p99_us) for runs in (decisions, echoes))
    bound = f"<= echo + {extra_us:.0f}"
    return [
        latency(f"{name}: p50 us", ours, theirs, theirs + extra_us, bound),
        latency(f"{name}: p99 us", ours_99, theirs_99, 2 * theirs_99, "<= 2 × echo"),
    ]


def latency(name: str, ours: float, theirs: float, limit_us: float, bound: str) -> Figure:
    text = f"{ours:,.0f} ({ours / theirs:.1f} ×)"
    return Figure(name, text, f"{theirs:,.0f}", bound, ours <= limit_us)


def all_scored(duel: Duel, running: Running) -> Figure:
    """Check that every request in the log, including the warm-up, was scored by every model,
    whichever model the answer came from.
    """
    asked, found = running.asked(), running.scored()
    fewest = min(found[name]["result"] for name in MODELS)
    text = ", ".join(f"{name} {dict(found[name])}" for name in MODELS)
    print(f"{asked} asked: {text}; measured:", duel.kinds, file=sys.stderr)
    holds = fewest == asked
    # Rounded down: 100 % is all of them.
    share = f"{fewest * 10_000 // max(1, asked) / 100:.2f}%"
    return Figure("scored by every model", share, f"{asked:,} requests", "100%", holds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--where", help="make the decision's directory below this one")
    parser.add_argument("--only", choices=("closed", "one", "open"))
    chosen = parser.parse_args()
    figures: list[Figure] = []
    with Running(chosen.where) as running, Echo("bare") as echo:
        drive(running.port, 8, 1.0)  # to warm up
        duel = Duel(running, echo, chosen.rounds, chosen.seconds)
        if chosen.only in (None, "closed"):
            figures += closed(duel, 32, (15_000, 0.3))
        if chosen.only in (None, "one"):
            figures += alone(duel, 600)
        if chosen.only in (None, "open"):
            figures += open_loop(duel, 1000.0, 600)
        figures.append(all_scored(duel, running))
    show("A decision: three models, file streams, one proxy, one server", figures)


if __name__ == "__main__":
    main()
