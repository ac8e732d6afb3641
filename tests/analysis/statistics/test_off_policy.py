"""Off-policy estimates: a published example and a simulation of known truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from rdv.analysis.metrics import estimate, metric_named
from rdv.analysis.statistics.off_policy import doubly_robust, expected_by_group

VALUE = metric_named("value")


def test_the_published_example_of_offline_policy_evaluation():
    """The README of banditml/offline-policy-evaluation: 3.33 recorded, -28.47 doubly robust.

    A fraud policy that blocks above 0.05 explores in 10 %; a more lenient one blocks above 0.1. Its
    model of the reward is scikit-learn's ridge regression over the score and the action.
    """
    p_fraud = np.array([0.08, 0.03, 0.02, 0.01, 0.09, 0.40])
    blocked = np.array([1, 0, 0, 0, 0, 0])
    given_ = np.array([0.9, 0.9, 0.9, 0.9, 0.1, 0.1])
    reward = np.array([0.0, 20, 10, 20, -20, -10])
    new = np.where(p_fraud[:, None] > 0.1, [0.1, 0.9], [0.9, 0.1])  # (allowed, blocked)

    def features(action):
        return np.c_[p_fraud, action == 0, action == 1]

    ridge = Ridge().fit(features(blocked), reward)
    of_action = np.c_[ridge.predict(features(np.zeros(6))), ridge.predict(features(np.ones(6)))]
    rows = np.arange(6)
    weights = new[rows, blocked] / given_
    robust = doubly_robust(reward, weights, of_action[rows, blocked], (new * of_action).sum(axis=1))
    assert round(reward.mean(), 2) == 3.33
    assert round(robust.mean(), 2) == -28.47
    # By hand: (20 + 10 + 20 - 9 * 20 - 10) / 6.
    assert (reward * weights).mean() == pytest.approx(-140 / 6)


def a_run(chance, count=800):
    """Answers whose reward depends on a context; the old policy takes action 1 in 30 %."""
    context = chance.integers(0, 3, count)
    old = np.where(chance.random(count) < 0.3, 1, 0)
    given_ = np.where(old == 1, 0.3, 0.7)
    new = context != 1  # action 1 except in context 1
    mean = np.array([[0.2, 0.6], [0.8, 0.1], [0.5, 0.5]])
    reward = (chance.random(count) < mean[context, old]).astype(float)
    truth = (mean[0, 1] + mean[1, 0] + mean[2, 1]) / 3
    weights = (old == new) / given_
    keys = np.arange(count).astype(np.uint64)
    earned = np.where(weights > 0, reward, np.nan)
    expected = expected_by_group(earned, weights, context.astype(float), keys)
    ips = reward * weights
    robust = doubly_robust(reward, weights, expected, expected)
    wrong = doubly_robust(reward, weights, expected * 0 + 0.9, expected * 0 + 0.9)
    return truth, ips, robust, wrong


def test_estimates_are_right_on_average_and_their_intervals_cover_the_truth():
    chance = np.random.default_rng(11)
    runs = [a_run(chance) for _ in range(300)]
    truth = runs[0][0]
    for method in (1, 2, 3):  # also with a wrong model of the reward
        means = np.array([run[method].mean() for run in runs])
        assert abs(means.mean() - truth) < 4 * means.std() / np.sqrt(len(runs))
        spans = [estimate(VALUE, run[method]) for run in runs]
        covered = np.mean([span.covers(truth) for span in spans])
        assert 0.90 <= covered <= 0.99
    spread = [np.std([run[method].mean() for run in runs]) for method in (1, 2)]
    assert spread[1] < spread[0]  # what a model explains is no variance


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_no_reward_is_expected_by_itself(count, seed):
    chance = np.random.default_rng(seed)
    rewards = np.where(chance.random(count) < 0.5, chance.normal(size=count), np.nan)
    groups, keys = (
        chance.integers(0, 3, count) * 1.0,
        chance.integers(0, 9, count).astype(np.uint64),
    )
    before = expected_by_group(rewards, np.ones(count), groups, keys)
    assert np.isfinite(before).all()
    other = rewards.copy()
    other[keys % 2 == keys[0] % 2] = 1e9  # its own half
    after = expected_by_group(other, np.ones(count), groups, keys)
    assert after[0] == before[0]
