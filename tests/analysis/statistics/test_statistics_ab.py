"""Check A/B statistics, above all that repeated looks are allowed, by simulations."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rdv.analysis.statistics import (
    Arm,
    InvalidSample,
    effect,
    effect_of_pairs,
    plain,
    proportion_sequence,
    sample_ratio,
)
from rdv.analysis.statistics.ab.effect import RARE_MIN, UNITS_MIN, Units
from rdv.analysis.statistics.ab.sequence import always_valid_p, mean_sequence

quick = settings(derandomize=True, deadline=None, max_examples=80)

RUNS = 1000
LENGTH = 6000


def test_the_formula_as_it_is_published():
    """The formula is from Waudby-Smith et al. (2024), theorem 2.2 and appendix B.2."""
    n, alpha, m = 500, 0.05, 10_000
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / m
    half = math.sqrt(
        2 * (n * rho2 + 1) / (n * n * rho2) * math.log(math.sqrt(n * rho2 + 1) / alpha)
    )
    found = mean_sequence(1.0, 4.0, n)
    assert (found.low, found.high) == (pytest.approx(1 - 2 * half), pytest.approx(1 + 2 * half))
    assert found.peeking


@quick
@given(
    st.floats(-3, 3), st.floats(0.01, 10), st.integers(1, 10**6), st.sampled_from([0.9, 0.95, 0.99])
)
def test_p_value_and_interval_say_the_same(mean, variance, count, confidence):
    found = mean_sequence(mean, variance, count, confidence)
    p_value = always_valid_p(mean, variance, count, confidence=confidence)
    if not math.isclose(p_value, 1 - confidence, rel_tol=1e-6):
        assert (p_value < 1 - confidence) == (not found.covers(0))


def running(values):
    """Return count, mean and variance (over n - 1) after each value, along the last axis."""
    n = np.arange(1, values.shape[-1] + 1)
    mean = np.cumsum(values, axis=-1) / n
    squares = np.cumsum(values**2, axis=-1) - n * mean**2
    return n, mean, np.maximum(squares, 0) / np.maximum(n - 1, 1)


def widths(n, confidence=0.95):
    """Return `mean_sequence` for variance 1 at each count: it is linear in the deviation."""
    at = [mean_sequence(0.0, 1.0, int(k), confidence).high for k in n]
    return np.array(at)


def test_peeking_at_every_request_keeps_the_error_rate():
    chance = np.random.default_rng(1)
    for draw, mean in (
        (lambda size: chance.normal(size=size), 0.0),
        (lambda size: chance.exponential(size=size), 1.0),
        (lambda size: (chance.random(size) < 0.2).astype(float), 0.2),
    ):
        n, means, variances = running(draw((RUNS, LENGTH)))
        half = np.sqrt(variances) * widths(n)
        late = n >= UNITS_MIN
        wrong = np.any(np.abs(means - mean)[:, late] > half[:, late], axis=1)
        assert wrong.mean() <= 0.05
        naive = np.any(
            np.abs(means - mean)[:, late] > 1.96 * np.sqrt(variances / n)[:, late], axis=1
        )
        assert naive.mean() > 0.25  # the error of a fixed-sample interval under repeated looks


@pytest.mark.parametrize(("share", "rate"), [(0.5, 0.1), (0.2, 0.5), (0.5, 0.02)])
def test_two_cohorts_that_are_alike_and_peeked_at(share, rate):
    """The test computes `effect` for every prefix at once, with its waiting rule."""
    chance = np.random.default_rng(2)
    treated = chance.random((RUNS, LENGTH)) < share
    ones = chance.random((RUNS, LENGTH)) < rate
    count = [np.cumsum(~treated, axis=1), np.cumsum(treated, axis=1)]
    hits = [np.cumsum(ones & ~treated, axis=1), np.cumsum(ones & treated, axis=1)]
    n = np.arange(1, LENGTH + 1)
    error, waiting = np.zeros((RUNS, LENGTH)), np.zeros((RUNS, LENGTH), dtype=bool)
    p = []
    for k, h in zip(count, hits, strict=True):
        filled = np.maximum(k, 2)
        p.append(h / filled)
        error += p[-1] * (1 - p[-1]) / (filled - 1)
        waiting |= (k < UNITS_MIN) | (np.minimum(h, k - h) < RARE_MIN)
    half = np.sqrt(error * n) * widths(n)
    wrong = np.any((np.abs(p[1] - p[0]) > half) & ~waiting, axis=1)
    assert wrong.mean() <= 0.05
    row = 7  # the public function gives the same, at one moment
    arms = [Arm.of(name, ones[row][treated[row] == side]) for side, name in enumerate("ab")]
    found = effect(*arms)
    assert found.difference.estimate == pytest.approx(p[1][row, -1] - p[0][row, -1])
    if found.finding != "too early":
        assert found.difference.high - found.difference.estimate == pytest.approx(half[row, -1])


def test_exact_shares_hold_from_the_first_request_on():
    chance = np.random.default_rng(3)
    for truth in (0.01, 0.3, 0.95):
        k = np.cumsum(chance.random((2000, 1500)) < truth, axis=1)
        n = np.arange(1, 1501)
        log_mixed = -np.log(n + 1) - stats.binom.logpmf(k, n, truth)
        refuted = np.any(log_mixed >= math.log(20), axis=1)
        assert refuted.mean() <= 0.05
        for at in (0, 9, 200, 1499):
            for row in range(20):
                hits = int(k[row, at])
                found = proportion_sequence(hits, at + 1)
                mixed = -math.log(at + 2) - stats.binom.logpmf(hits, at + 1, truth)
                assert found.covers(truth) == (mixed < math.log(20))
    with pytest.raises(InvalidSample):
        proportion_sequence(2, 1)


def test_a_right_split_is_not_called_wrong_by_peeking_and_a_wrong_one_is_found():
    chance = np.random.default_rng(4)
    shares = [0.9, 0.1]
    misled = 0
    for _ in range(150):
        treated = np.cumsum(chance.random(4000) < 0.1)
        misled += any(
            sample_ratio([n - int(treated[n - 1]), int(treated[n - 1])], shares).always_valid_p
            < 0.05
            for n in range(20, 4001, 40)
        )
    assert misled / 150 <= 0.05
    assert sample_ratio([90_000, 9_300], shares).mismatch
    fine = sample_ratio([900, 100], shares)
    assert (fine.mismatch, fine.chi_square_p, fine.expected) == (False, 1, (900, 100))


@quick
@given(st.lists(st.integers(0, 500), min_size=2, max_size=4))
def test_chi_square_is_that_of_scipy(observed):
    shares = [1 + i for i in range(len(observed))]
    found = sample_ratio(observed, shares)
    if sum(observed):
        expected = stats.chisquare(observed, found.expected).pvalue
        assert found.chi_square_p == pytest.approx(expected, abs=1e-9)
    assert 0 <= found.always_valid_p <= 1


def test_splits_that_are_none():
    assert not sample_ratio([0, 0], [1, 1]).mismatch
    for observed, shares in (([1], [1]), ([1, 2], [1]), ([1, -2], [1, 1]), ([1, 2], [1, 0])):
        with pytest.raises(InvalidSample):
            sample_ratio(observed, shares)


def test_findings():
    chance = np.random.default_rng(5)
    low, high = (Arm.of(n, chance.random(20_000) < p) for n, p in (("old", 0.1), ("new", 0.14)))
    found = effect(low, high)
    assert (found.finding, found.control, found.treatment) == ("better", "old", "new")
    assert effect(high, low).finding == "worse"
    assert found.p_value < 0.05
    assert found.once.high - found.once.low < found.difference.high - found.difference.low
    assert effect(low, low).finding == "undecided"
    early = effect(Arm.of("a", [0, 1] * 20), Arm.of("b", [1] * 40))
    assert (early.finding, early.p_value, early.difference.high) == ("too early", 1, math.inf)
    assert json.loads(json.dumps(plain(early)))["difference"]["high"] is None


def test_requests_of_one_key_are_not_taken_for_many():
    chance = np.random.default_rng(6)
    wrong = {"keys": 0, "requests": 0}
    for _ in range(400):
        keys = np.repeat(np.arange(300), chance.integers(1, 40, 300))
        level = chance.beta(2, 2, 300)
        outcomes = chance.random(len(keys)) < level[keys]
        for name, arm in (
            ("keys", Arm.of("a", outcomes, keys)),
            ("requests", Arm.of("a", outcomes)),
        ):
            wrong[name] += abs(arm.mean - 0.5) > 1.96 * arm.standard_error
    assert wrong["keys"] / 400 == pytest.approx(0.05, abs=0.03)
    assert wrong["requests"] / 400 > 0.3
    single = Arm.of("a", np.arange(50.0), np.arange(50))
    plain_arm = Arm.of("a", np.arange(50.0))
    assert (single.mean, single.variance) == pytest.approx((plain_arm.mean, plain_arm.variance))
    with pytest.raises(InvalidSample, match="one key"):
        Arm.of("a", [0, 1], [1, 1])


def paired_effect(control, treatment, keys=None, names=("control", "treatment")):
    """Return the effect by all requests, whose unit is the key."""
    a, b = np.asarray(control, dtype=float), np.asarray(treatment, dtype=float)
    keys = np.arange(len(a)) if keys is None else np.asarray(keys)
    arms = Units.of(names[0], a, keys).arm(), Units.of(names[1], b, keys).arm()
    differing = len(np.unique(keys[a != b]))
    pairs = Units.of("difference", b - a, keys).arm()
    return effect_of_pairs(pairs, arms, differing=differing)


def test_pairs_answer_with_far_fewer_and_may_be_peeked_at():
    chance = np.random.default_rng(8)
    hard = chance.random((500, 4000)) < 0.1  # both are wrong on these
    fail_a, fail_b = (hard | (chance.random((500, 4000)) < 0.01) for _ in range(2))
    away = fail_a.astype(float) - fail_b
    n, means, variances = running(away)
    differing = np.cumsum(away != 0, axis=1)
    waiting = (n < UNITS_MIN) | (differing < RARE_MIN)
    wrong = np.any((np.abs(means) > np.sqrt(variances) * widths(n)) & ~waiting, axis=1)
    assert wrong.mean() <= 0.05
    right_a = ~fail_a.ravel()[:200_000]
    right_b = right_a | (chance.random(200_000) < 0.05)
    found = paired_effect(right_a, right_b, names=("gbm", "new"))
    assert (found.finding, found.treatment) == ("better", "new")
    assert found.unpaired_needed * 2 > 8 * found.pairs_needed
    assert paired_effect([0, 1], [1, 0]).finding == "too early"


def test_keys_are_the_units_of_pairs_too():
    chance = np.random.default_rng(9)
    pairs = 0
    for _ in range(300):
        keys = np.repeat(np.arange(200), chance.integers(1, 30, 200))
        habit = chance.normal(size=200)[keys]
        a, b = chance.normal(size=(2, len(keys)))
        once = paired_effect(a, b + habit, keys=keys).once
        pairs += once.covers(0)
    assert pairs / 300 == pytest.approx(0.95, abs=0.04)
    few = paired_effect(np.zeros(3000), np.ones(3000), keys=np.arange(3000) % 19)
    assert (few.finding, few.units) == ("too early", (19, 19))
