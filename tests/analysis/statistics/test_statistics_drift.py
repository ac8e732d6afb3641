from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rdv.analysis.statistics import InvalidSample, Reference, drift_over_time, judge, windows
from rdv.analysis.statistics.drift.distances import Bins, kolmogorov_smirnov, psi, quantile_shifts

quick = settings(derandomize=True, deadline=None, max_examples=80)

SMALL = st.lists(st.integers(0, 6), min_size=1, max_size=60)
MINUTE = 60 * 10**9


@quick
@given(SMALL, SMALL)
def test_distance_by_its_definition_with_ties(a, b):
    shares = [abs(np.mean(np.array(a) <= x) - np.mean(np.array(b) <= x)) for x in range(-1, 8)]
    found = kolmogorov_smirnov(a, b)
    assert found.distance == pytest.approx(max(shares))
    assert 0 <= found.p_value <= 1


@pytest.mark.parametrize("n", [30, 200, 3000])
def test_p_value_is_near_the_exact_one(n):
    chance = np.random.default_rng(n)
    for shift in (0, 2 / np.sqrt(n), 4 / np.sqrt(n)):
        a, b = chance.normal(size=n), chance.normal(shift, size=n + n // 2)
        found = kolmogorov_smirnov(a, b).p_value
        assert found == pytest.approx(stats.ks_2samp(a, b, method="exact").pvalue, abs=0.02)


def test_psi_by_hand():
    found = psi([50, 50], [80, 20])
    p, q = 50.5 / 101, np.array([80.5, 20.5]) / 101
    assert found.value == pytest.approx(float(np.sum((q - p) * np.log(q / p))))
    assert found.by_chance == pytest.approx(0.02 * stats.chi2.ppf(0.999, 1))
    assert found.significant
    assert psi([5, 0, 5], [5, 0, 5]).value == 0
    assert psi([5], [9]).value == 0
    for before, after in (([1], [1, 2]), ([0, 0], [1, 1]), ([], [])):
        with pytest.raises(InvalidSample):
            psi(before, after)


def test_psi_by_chance_is_as_often_exceeded_as_promised():
    chance = np.random.default_rng(1)
    counts = chance.multinomial(400, np.full(10, 0.1), size=(4000, 2))
    exceeded = np.mean([psi(a, b, error_rate=0.05).significant for a, b in counts])
    assert exceeded == pytest.approx(0.05, abs=0.015)


@quick
@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]) | st.floats(0, 1), min_size=1, max_size=300))
def test_every_value_is_in_one_bin(values):
    bins = Bins.of(values)
    assert bins.count(values).sum() == len(values)
    assert len(bins.edges) <= 18
    assert (np.diff(bins.edges) > 0).all()
    halves = bins.count(values[: len(values) // 2]) + bins.count(values[len(values) // 2 :])
    assert halves.tolist() == bins.count(values).tolist()


def test_bins_hold_about_equal_parts_and_a_heavy_value_its_own():
    values = np.random.default_rng(1).normal(size=10_000)
    assert Bins.of(values).count(values) == pytest.approx(1000, abs=2)
    constant = Bins.of(np.zeros(100))
    assert constant.count([-1.0, 0.0, 0.0, 1.0]).tolist() == [1, 2, 1]


def test_shifts_are_in_widths_of_the_middle_half():
    values = np.linspace(0, 1, 1001)
    found = quantile_shifts(values, values + 1, [0.5])[0]
    assert (found.before, found.after) == (pytest.approx(0.5), pytest.approx(1.5))
    assert found.spreads == pytest.approx(2)
    assert quantile_shifts([1.0, 1.0], [2.0], [0.5])[0].spreads is None


@pytest.mark.parametrize(
    ("model_shift", "canary_shift", "cause"),
    [
        (0, 0, "steady"),
        (0.8, 0.8, "input changed"),
        (0.8, 0.2, "input changed"),
        (0.2, 0.8, "input changed"),
        (0.2, 0.2, "steady"),
        (0.8, 0, "model changed"),
        (0, 0.8, "canary changed"),
    ],
)
def test_the_verdict(model_shift, canary_shift, cause):
    chance = np.random.default_rng(3)
    model, canary = chance.normal(size=5000), chance.normal(size=5000)
    moves = [
        Reference.of(before).movement(chance.normal(shift, size=3000))
        for before, shift in ((model, model_shift), (canary, canary_shift))
    ]
    states = {0: "still", 0.2: "stirred", 0.8: "moved"}
    assert [move.state for move in moves] == [states[model_shift], states[canary_shift]]
    verdict = judge(*moves)
    assert verdict.cause == cause
    assert "PSI: model" in verdict.sentence


def test_false_alarms_are_rare_at_any_size():
    chance = np.random.default_rng(4)
    reference = Reference.of(chance.normal(size=2000))
    for size in (100, 200, 1000):
        states = [reference.movement(chance.normal(size=size)).state for _ in range(300)]
        assert sum(state != "still" for state in states) <= 3
    few = reference.movement(np.full(99, 9.0))
    assert few.state == "too few"
    assert judge(few, few).cause == judge(None, few).cause == "too few"
    assert reference.movement([]) is None


def test_a_significant_but_tiny_difference_is_no_drift():
    chance = np.random.default_rng(5)
    moved = Reference.of(chance.normal(size=200_000)).movement(chance.normal(0.05, size=200_000))
    assert moved.ks.p_value < 1e-6
    assert moved.psi.significant
    assert moved.state == "still"


def test_a_model_that_always_said_the_same_can_move():
    reference = Reference.of(np.zeros(500))
    assert reference.movement(np.zeros(500)).state == "still"
    assert reference.movement(np.r_[np.zeros(300), np.ones(200)]).state == "moved"


def test_over_time_the_first_window_that_differs_is_named():
    chance = np.random.default_rng(6)
    times = np.sort(chance.integers(0, 6 * MINUTE, 12_000))
    data = chance.normal(size=12_000) + np.where(times >= 4 * MINUTE, 1.0, 0.0)
    model = 2 * data + np.where(times >= 2 * MINUTE, 3.0, 0.0)
    canary = np.where(chance.random(12_000) < 0.1, np.nan, data)
    found = drift_over_time(times, model, canary, reference_ns=(0, 2 * MINUTE), width_ns=MINUTE)
    assert [w.verdict.cause for w in found] == [
        *["steady"] * 2,
        *["model changed"] * 2,
        *["input changed"] * 2,
    ]
    assert found[3].start_ns == 3 * MINUTE
    assert found[3].canary.count < found[3].model.count
    with pytest.raises(InvalidSample, match="at least 100"):
        drift_over_time(times, model, canary, reference_ns=(0, 1), width_ns=MINUTE)
    with pytest.raises(InvalidSample, match="scores for"):
        drift_over_time(times, model[1:], canary, reference_ns=(0, MINUTE), width_ns=MINUTE)


@quick
@given(
    st.lists(st.integers(0, 1000), max_size=100),
    st.integers(1, 400),
    st.integers(0, 1000),
    st.integers(0, 1000),
)
def test_windows_hold_every_row_once(times, width, start, end):
    times = sorted(times)
    found = windows(np.array(times, dtype=np.int64), width, start_ns=start, end_ns=end)
    assert sum(w.count for w in found) == sum(start <= t < end for t in times)
    for window in found:
        assert all(window.start_ns <= t < window.end_ns for t in times[window.rows])
        assert window.end_ns - window.start_ns <= width
    for before, after in pairwise(found):
        assert before.end_ns == after.start_ns


def test_windows_by_themselves():
    found = windows([5, 12, 29], 10)
    assert [(w.start_ns, w.end_ns, w.count) for w in found] == [
        (5, 10, 1),
        (10, 20, 1),
        (20, 30, 1),
    ]
    assert windows([], 10) == []
    for times, width in (([2, 1], 10), ([1], 0), ([0, 10**6], 1), ([0.5], 1)):
        with pytest.raises(InvalidSample):
            windows(times, width)
