"""Check which faults a drill applies to which processes, and for how long."""

from __future__ import annotations

import pytest

from rdv.load.drill.plan import FAULTS, QUICK, InvalidDrill, Target, plan_drill

TARGETS = [
    Target("server-0", "server"),
    Target("server-1", "server"),
    Target("gbm-0", "worker", "gbm"),
    Target("gbm-1", "worker", "gbm"),
    Target("fast-0", "worker", "fast"),
    Target("archive-0", "worker", "archive", scores=False),
    Target("p-1", "proxy"),
    Target("p-2", "proxy"),
]


def names(plan):
    return [str(exercise) for exercise in plan.exercises]


def test_every_fault_on_every_part_once():
    plan = plan_drill(TARGETS, ["gbm"], FAULTS, 100)
    parts = ["server-0", "gbm-0", "fast-0", "archive-0", "p-1"]
    faults = ("kill", "stop", "slow", "corrupt", "lock", "clock")
    each = [f"{fault} {part}" for fault in faults for part in parts]
    # The server's files are the drill's evidence, and a decoy writes to no stream.
    files = [
        f"{fault} {part}" for fault in ("sector", "missing") for part in parts[1:3] + parts[4:]
    ]
    whole = [f"{fault} everything" for fault in ("overload", "greedy", "replace", "disk")]
    assert names(plan) == [*each, *files, *whole]


def test_the_order_of_the_faults_is_ours_not_the_caller_s():
    plan = plan_drill(TARGETS[:1], [], ["disk", "kill"], 100)
    assert names(plan) == ["kill server-0", "disk everything"]


@pytest.mark.parametrize(("champions", "part"), [(["fast"], "fast-0"), (["*"], "gbm-0")])
def test_a_quick_drill_hits_one_part_of_each_kind(champions, part):
    plan = plan_drill(TARGETS, champions, ["kill"], 100, quick=True)
    assert names(plan) == ["kill server-0", f"kill {part}", "kill p-1"]
    assert plan.pace == QUICK
    assert plan.seconds < plan_drill(TARGETS, champions, ["kill"], 100).seconds < plan.seconds_max


@pytest.mark.parametrize(
    ("faults", "rate", "says"),
    [(["burn"], 100, "no 'burn'"), ([], 100, "none"), (FAULTS, 20_000, "too many")],
)
def test_what_cannot_be_planned(faults, rate, says):
    with pytest.raises(InvalidDrill, match=says):
        plan_drill(TARGETS, [], faults, rate)
