"""Measure what the console costs a decision: the same load with it and without it, in turns.

    python -m benchmarks.console [--pairs 5] [--seconds 3]

With the console on, it has caught up with the log before the load begins.
Printed are the medians over the pairs of on/off, so that other work on the machine counts for both,
and the console's own CPU time for each decision. Linux only.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.decision import drive
from benchmarks.decision_client import Measured
from benchmarks.decision_setup import Running, _cpu_s, _free_port

CATCH_UP_S = 120


@contextmanager
def console_of(running: Running) -> Iterator[int]:
    """Run the decision's console; yield its pid."""
    port = _free_port()
    command = [sys.executable, "-m", "rdv", "component", "console"]
    command += [str(running.directory), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        end_s = time.monotonic() + CATCH_UP_S
        while not is_caught_up(port):
            if time.monotonic() > end_s:
                raise SystemExit("the console has not caught up with the log in time")
            time.sleep(0.2)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def is_caught_up(port: int) -> bool:
    """Return whether the console answers, and has read the log to its end."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return False
    found = [line for line in lines if line.startswith("rdv_console_lag_seconds{")]
    return bool(found) and 0 <= float(found[0].rpartition(" ")[2]) <= 1


def pairs(running: Running, count: int, seconds: float, connections: int, rate: float) -> None:
    """Drive with and without the console, and print the ratios."""
    p50, per_s, cpu_us = list[float](), list[float](), list[float]()
    for number in range(count):
        found: dict[bool, Measured] = {}
        order: tuple[bool, ...] = (True, False) if number % 2 else (False, True)
        for is_on in order:
            if is_on:
                with console_of(running) as pid:
                    before = _cpu_s(pid)
                    found[is_on] = drive(running.port, connections, seconds, rate)
                    spent = _cpu_s(pid) - before
                    cpu_us.append(1e6 * spent / max(1, found[is_on].answers))
            else:
                found[is_on] = drive(running.port, connections, seconds, rate)
        p50.append(found[True].p50_us / found[False].p50_us)
        per_s.append(found[True].per_s / found[False].per_s)
    name = f"open loop, {rate:,.0f}/s" if rate else f"closed loop, {connections} connections"
    print(f"{name}: p50 on/off {shown(p50)}; decisions/s on/off {shown(per_s)}")
    print(f"{name}: the console's CPU time for a decision: {statistics.median(cpu_us):.1f} us")


def shown(ratios: list[float]) -> str:
    """Return the median and the range of some ratios."""
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    chosen = parser.parse_args()
    with Running() as running:
        drive(running.port, 8, 1.0)  # to warm up
        pairs(running, chosen.pairs, chosen.seconds, 32, 1000.0)
        pairs(running, chosen.pairs, chosen.seconds, 32, 0.0)


if __name__ == "__main__":
    main()
