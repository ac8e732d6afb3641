"""Check that the simulator can fail: it sees each of these bugs within some seeds."""

from __future__ import annotations

import pytest
from simulator import make_plan, play, shrink
from simulator.mutants import MUTANTS

SEEDS_MAX = 600
FIRST = (245, 0, 3, 6, 16, 25, 37, 84, 812)
"""Seeds that see all bugs today: they are tried before the others."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_bug_is_seen(mutant) -> None:
    wanted = set(mutant.promise.split("|"))
    with mutant.patch():
        for seed in (*FIRST, *range(SEEDS_MAX)):
            if wanted & play(make_plan(seed)).promises:
                return
    pytest.fail(f"{mutant.name}: not seen in {SEEDS_MAX} seeds")


def test_a_failure_is_made_small() -> None:
    (mutant,) = (m for m in MUTANTS if m.name == "proxy's backstop is late")
    with mutant.patch():
        plan = next(p for p in map(make_plan, range(100)) if play(p).broken)
        small = shrink(plan, play)
        assert mutant.promise in play(small).promises
    assert len(small.arrivals) <= 2
    assert len(small.faults) <= min(2, len(plan.faults))
    assert not play(small).broken
