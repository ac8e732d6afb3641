"""Check the drift verdict: it is rarely wrong, and it reliably finds real drift."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from rdv.analysis.compare.drift import WINDOWS_MIN, drift_of


def causes(kind, count=3000, seeds=40):
    found = Counter()
    for seed in range(seeds):
        chance = np.random.default_rng(seed)
        times_ns = np.sort(chance.integers(0, 10**10, count)).astype(np.int64)
        model, canary = chance.random(count), chance.random(count)
        if kind == "classes":
            model, canary = (model < 0.05).astype(float), (canary < 0.3).astype(float)
        if kind in ("model", "input"):
            model[count // 2 :] **= 1.6
        if kind == "input":
            canary[count // 2 :] **= 1.6
        found[drift_of("m", "c", times_ns, model, canary, is_canary=True).cause] += 1
    return found


@pytest.mark.parametrize("kind", ["steady", "classes"])
def test_false_alarms_are_rare(kind):
    assert causes(kind)["steady"] >= 38


@pytest.mark.parametrize(
    ("kind", "cause"), [("model", "model changed"), ("input", "input changed")]
)
def test_what_has_changed_is_found(kind, cause):
    assert causes(kind)[cause] >= 36


def test_too_few_requests_for_drift_name_the_minimum():
    times_ns = np.arange(999)
    found = drift_of("m", "c", times_ns, times_ns * 1.0, times_ns * 1.0, is_canary=True)
    assert found.cause == "too few"
    assert f"{250 * WINDOWS_MIN:,} are needed" in found.sentence


def test_drift_needs_scores_of_the_peer():
    times_ns = np.arange(5000)
    found = drift_of("m", "c", times_ns, times_ns % 7.0, np.full(5000, np.nan), is_canary=True)
    assert found.cause == "too few"
    assert "Drift is unknown" in found.sentence


def test_everything_in_one_instant():
    times_ns = np.zeros(2000, np.int64)
    found = drift_of("m", "c", times_ns, np.ones(2000), np.ones(2000), is_canary=True)
    assert found.cause == "too few"
