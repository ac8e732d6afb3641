"""Simulate how often drift is said where nothing has changed, and how often a change is found.

`make soak` has more runs; docs/explanation/statistics.md has its table.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from rdv.analysis.compare.drift import drift_of

HOUR_NS = 3600 * 10**9
STEADY = {
    "a daily cycle": {"cycle": 1.0},
    "a daily cycle for weeks": {"cycle": 1.0, "days": 16},
    "a weekend unlike other days": {"weekend": 1.0, "days": 30, "count": 12_000},
    "bursts by key": {"burst": 10, "count": 20_000},
    "bursts by key in a daily cycle": {"burst": 10, "count": 20_000, "cycle": 1.0},
    "nothing": {},
    "an hour": {"days": 1 / 24},
    "few scores": {"round_to": 1},
}
CHANGES = {
    "a new cluster of 5 % at +5 sd": {"cluster": 0.05},
    "the cluster in a daily cycle": {"cluster": 0.05, "cycle": 1.0},
    "the cluster within an hour": {"cluster": 0.05, "days": 1 / 24, "count": 3000},
    "half a standard deviation": {"shift": 0.5},
    "half of one in a daily cycle": {"shift": 0.5, "cycle": 1.0},
    "one standard deviation in bursts": {"shift": 1.0, "burst": 10, "count": 20_000},
    "a stability index above 4 in the last window": {"shift": 6.0, "since": 0.97},
}


def run(
    seed, *, days=8.0, count=6000, cycle=0.0, weekend=0.0, burst=1, cluster=0.0, shift=0.0,
    since=0.5, round_to=9,
):  # fmt: skip
    """Return the cause that is found for a model and a canary that both follow the input."""
    chance = np.random.default_rng(seed)
    keys = chance.integers(0, max(1, count // burst), count) if burst > 1 else np.arange(count)
    begins = chance.uniform(0, days * 24, count)[keys]
    hours = begins + (chance.exponential(0.05, count) if burst > 1 else 0.0)
    order = np.argsort(hours)
    hours, keys = hours[order], keys[order]
    own = chance.normal(size=count)
    value = own[keys] + (0.2 * chance.normal(size=count) if burst > 1 else 0.0)
    value = value + cycle * np.sin(2 * np.pi * hours / 24)
    value += weekend * (hours // 24 % 7 >= 5)
    later = np.arange(count) >= since * count
    value += shift * later
    value = np.where(later & (chance.random(count) < cluster), 5.0, value)
    model, canary = (np.round(value + 0.3 * chance.normal(size=count), round_to) for _ in range(2))
    times_ns = (hours * HOUR_NS).astype(np.int64)
    units = keys.astype(np.uint64)
    return drift_of("m", "c", times_ns, model, canary, is_canary=True, keys=units).cause


def causes(case, runs):
    return Counter(run(seed, **case) for seed in range(runs))


@pytest.mark.parametrize("case", STEADY.values(), ids=STEADY)
def test_nothing_has_changed(case):
    found = causes(case, 8)
    assert found["steady"] >= 7, found


@pytest.mark.parametrize("case", CHANGES.values(), ids=CHANGES)
def test_a_change_of_the_input_is_found(case):
    found = causes(case, 8)
    assert found["steady"] + found["too few"] <= 1, found


@pytest.mark.soak
@pytest.mark.parametrize("case", STEADY.values(), ids=STEADY)
def test_nothing_has_changed_long(case):
    found = causes(case, 200)
    assert found["steady"] >= 190, found


@pytest.mark.soak
@pytest.mark.parametrize("case", CHANGES.values(), ids=CHANGES)
def test_a_change_of_the_input_is_found_long(case):
    found = causes(case, 200)
    assert found["steady"] + found["too few"] <= 10, found


def test_windows_that_differ_for_different_causes_are_not_steady():
    """Once the input has changed and once the model: neither has two windows of its own."""
    chance = np.random.default_rng(2)
    times_ns = np.arange(6000) * 10**9
    model, canary = chance.normal(size=(2, 6000))
    model[4000:4250] += 1.2
    canary[4000:4250] += 1.2
    model[5000:5250] += 1.2
    found = drift_of("m", "c", times_ns, model, canary, is_canary=True)
    moved = {window.verdict.cause for window in found.windows} - {"steady"}
    assert moved == {"input changed", "model changed"}
    assert found.cause in moved


def test_requests_of_one_key_are_no_evidence():
    """A hundred keys, each with its own level, at random times: too few keys for windows."""
    found = causes({"burst": 100, "count": 5000}, 5)
    assert set(found) == {"too few"}
