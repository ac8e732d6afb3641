"""Check the promises (README, "What it promises") over hundreds of worlds with faults.

pytest tests/simulation --seed 1234       replays one, shrinks it, and prints what happened
RDV_SIM_SEEDS=5000 RDV_SIM_FIRST=1000000  more of them, and others
make soak                                 RDV_SIM_SOAK requests (3 million), in longer runs
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from simulator import Outcome, Plan, make_plan, play, shrink

SEEDS = int(os.environ.get("RDV_SIM_SEEDS", "200"))
"""The rarest mutant is seen in one seed of some 300, most in one of 20."""
SOAK_SEEDS = max(4000, 4 * SEEDS)
FEW = 12
FIRST = int(os.environ.get("RDV_SIM_FIRST", "0"))
SOAK_REQUESTS = int(os.environ.get("RDV_SIM_SOAK", "3000000"))
SOAK_RUN = 400
PARTS = 4
TRACE_LINES = 150


def story(plan: Plan, outcome: Outcome) -> str:
    """Return the seed, the shortest plan that fails, and what happened in it."""
    small = shrink(plan, play)
    again = play(small, traces=True)
    return "\n".join(
        [
            f"seed {plan.seed} ({len(plan.arrivals)} requests) breaks:",
            *(f"  {broken}" for broken in outcome.broken),
            f"again: pytest tests/simulation --seed {plan.seed}",
            "",
            "the shortest that breaks it:",
            *small.describe(),
            *again.trace[-TRACE_LINES:],
            *(f"  {broken}" for broken in again.broken),
        ]
    )


def check(plan: Plan) -> Outcome:
    outcome = play(plan)
    if outcome.broken:
        pytest.fail(story(plan, outcome), pytrace=False)
    return outcome


def test_promises_hold_in_a_few_worlds() -> None:
    for number in range(FEW):
        check(make_plan(number))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_promises_hold(part, seed) -> None:
    if seed is not None:
        if part == 0:
            outcome = check(make_plan(seed))
            print(*play(make_plan(seed), traces=True).trace, sep="\n")
            print(dict(outcome.counts))
        return
    check_seeds(range(FIRST + part, FIRST + SEEDS, PARTS))


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("part", range(PARTS))
def test_promises_hold_in_more_worlds(part) -> None:
    check_seeds(range(FIRST + SEEDS + part, FIRST + SOAK_SEEDS, PARTS))


def check_seeds(numbers: range) -> None:
    counts: Counter[str] = Counter()
    for number in numbers:
        counts += check(make_plan(number)).counts
    # A simulation in which nothing happens proves nothing.
    for kind in ("preferred", "fallback", "default", "by the proxy", "status 429"):
        assert counts[kind] > counts["asked"] / 1000, counts
    assert counts["judged"], counts


@pytest.mark.slow
def test_a_seed_replays_exactly() -> None:
    """The seed also gives the same run in another process, with other hashes."""
    numbers = range(900, 920)
    here = [play(make_plan(number)).digest for number in numbers]
    assert here == [play(make_plan(number), traces=True).digest for number in numbers]
    assert len(set(here)) == len(here)
    code = (
        "from simulator import make_plan, play\n"
        f"print(*(play(make_plan(number)).digest for number in {numbers!r}))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    assert there.stdout.split() == here


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_soak() -> None:
    """Use other seeds every time and print them. Longer runs combine more faults."""
    first = int(os.environ.get("RDV_SIM_FIRST", str(int.from_bytes(os.urandom(4), "big"))))
    counts: Counter[str] = Counter()
    seed = first
    while counts["asked"] < SOAK_REQUESTS:
        counts += check(make_plan(seed, SOAK_RUN)).counts
        seed += 1
    print(f"seeds {first} to {seed}: {dict(counts)}")
