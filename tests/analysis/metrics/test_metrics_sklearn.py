"""Check that the metrics equal scikit-learn's on random data with ties and weights, also of 0."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rdv.analysis.metrics import Lists, Undefined, metric_named, reliability


def theirs():
    """Return scikit-learn's metrics. Their import takes seconds, so not every process does it."""
    from sklearn import metrics

    return metrics


quick = settings(derandomize=True, deadline=None, max_examples=60)

SCORES, TRUTHS = st.integers(0, 6), st.integers(0, 1)
WEIGHTS = st.sampled_from([0.0, 0.0, 0.25, 1.0, 1.0, 2.0, 7.5])


@st.composite
def scored(draw, numbers=SCORES, truths=TRUTHS):
    """Draw few distinct scores (ties), truths that may be of one class, and weights."""
    row = st.tuples(numbers, truths, WEIGHTS)
    rows = draw(st.lists(row, min_size=1, max_size=40))
    score, truth, weight = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    return score, truth, weight


def same(ours, expected):
    assert not isinstance(ours, Undefined), ours
    assert ours == pytest.approx(expected, rel=1e-9, abs=1e-12)


def alike(truth, weight):
    return len(np.unique(truth[weight > 0])) < 2


def recall_of_roc(truth, score, weight, rate):
    false, true, _ = theirs().roc_curve(truth, score, sample_weight=weight, drop_intermediate=False)
    return true[false <= rate].max()


@quick
@given(scored(), st.sampled_from([0.05, 0.2, 0.5]))
def test_ranking(sample, rate):
    score, truth, weight = sample
    recall = metric_named(f"recall@fpr={rate}")
    named = [metric_named("roc-auc"), metric_named("pr-auc"), recall]
    found = [metric.of(score, truth, weights=weight) for metric in named]
    if alike(truth, weight):
        assert all(isinstance(one, Undefined) and one.reason for one in found)
        return
    same(found[0], theirs().roc_auc_score(truth, score, sample_weight=weight))
    same(found[1], theirs().average_precision_score(truth, score, sample_weight=weight))
    same(found[2], recall_of_roc(truth, score, weight, rate))


@quick
@given(scored(st.integers(0, 3), st.integers(0, 3)))
def test_classes(sample):
    label, truth, weight = sample
    accuracy, balanced, f1 = (
        metric_named(name).of(label, truth, weights=weight)
        for name in ("accuracy", "balanced-accuracy", "f1")
    )
    if alike(truth, weight):
        assert isinstance(accuracy, Undefined)
        assert isinstance(balanced, Undefined)
        return
    same(accuracy, theirs().accuracy_score(truth, label, sample_weight=weight))
    kept = weight > 0  # scikit-learn divides by 0 for a class without weight
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        expected = theirs().balanced_accuracy_score(
            truth[kept], label[kept], sample_weight=weight[kept]
        )
    same(balanced, expected)
    if not np.any(truth[kept] == 1):
        assert isinstance(f1, Undefined)
        return
    same(f1, theirs().f1_score(truth == 1, label == 1, sample_weight=weight))


@quick
@given(scored(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])))
def test_probabilities(sample):
    score, truth, weight = sample
    log_loss = metric_named("log-loss").of(score, truth, weights=weight)
    brier = metric_named("brier").of(score, truth, weights=weight)
    if alike(truth, weight):
        assert isinstance(log_loss, Undefined)
        assert isinstance(brier, Undefined)
        return
    same(log_loss, theirs().log_loss(truth, score, sample_weight=weight, labels=[0, 1]))
    same(brier, theirs().brier_score_loss(truth, score, sample_weight=weight))


@quick
@given(scored(st.integers(-3, 9), st.integers(-3, 9)), st.sampled_from([0.1, 0.5, 0.9]))
def test_numbers(sample, quantile):
    number, truth, weight = sample
    names = ("mae", "rmse", f"pinball@{quantile}", "value")
    found = [metric_named(name).of(number, truth, weights=weight) for name in names]
    if not weight.any():
        assert all(isinstance(one, Undefined) for one in found)
        return
    same(found[0], theirs().mean_absolute_error(truth, number, sample_weight=weight))
    same(found[1], theirs().root_mean_squared_error(truth, number, sample_weight=weight))
    same(
        found[2],
        theirs().mean_pinball_loss(truth, number, sample_weight=weight, alpha=quantile),
    )
    same(found[3], np.average(number, weights=weight))


@st.composite
def tables(draw):
    items = draw(st.integers(3, 6))
    row = st.lists(st.integers(0, 3), min_size=items, max_size=items)
    count = draw(st.integers(1, 8))
    scores = draw(st.lists(row, min_size=count, max_size=count))
    gains = draw(st.lists(row, min_size=count, max_size=count))
    weights = draw(st.lists(WEIGHTS, min_size=count, max_size=count))
    return np.array(scores, float), np.array(gains, float), np.array(weights)


@quick
@given(tables(), st.integers(1, 7))
def test_ndcg(sample, k):
    scores, gains, weight = sample
    found = metric_named(f"ndcg@{k}").of(Lists.of(scores), Lists.of(gains), weights=weight)
    kept = weight > 0
    if not gains[kept].any():
        assert isinstance(found, Undefined)
        return
    expected = theirs().ndcg_score(gains[kept], scores[kept], k=k, sample_weight=weight[kept])
    same(found, expected)


@quick
@given(tables(), st.integers(1, 7), st.randoms(use_true_random=False))
def test_hit_rate(sample, k, chance):
    scores, _, weight = sample
    items = scores.shape[1]
    assume(weight.any())
    right = np.array([chance.randrange(items) for _ in scores])
    gains = np.eye(items)[right]
    found = metric_named(f"hit-rate@{k}").of(Lists.of(scores), Lists.of(gains), weights=weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # k is as large as the number of classes
        expected = theirs().top_k_accuracy_score(
            right, scores, k=k, labels=range(items), sample_weight=weight
        )
    same(found, expected)


@quick
@given(st.integers(2, 12), st.integers(0, 2**31), st.integers(1, 50))
def test_calibration(bins, seed, grain):
    chance = np.random.default_rng(seed)
    count = int(chance.integers(bins, 200))
    assume(all((count - 1) * edge % bins for edge in range(1, bins)))  # no edge is an observation
    score = chance.integers(0, grain + 1, count) / grain
    truth = (chance.random(count) < score).astype(float)
    assume(not alike(truth, np.ones(count)))
    from sklearn.calibration import calibration_curve

    shares, means = calibration_curve(truth, score, n_bins=bins, strategy="quantile")
    table = reliability(score, truth, bins=bins)
    assert [one.positives for one in table] == pytest.approx(shares)
    assert [one.mean for one in table] == pytest.approx(means)
    heavy = [one.requests for one in table]
    assert sum(heavy) == count
    found = metric_named(f"calibration@bins={bins}").of(score, truth)
    same(found, np.average(np.abs(shares - means), weights=heavy))


@quick
@given(scored())
def test_precision_at_k_is_the_mean_over_the_orders_of_tied_requests(sample):
    score, truth, _ = sample
    assume(not alike(truth, np.ones(len(truth))))
    k = max(1, len(score) // 2)
    chance = np.random.default_rng(1)
    hits = []
    for _ in range(200):
        mixed = chance.permutation(len(score))
        first = mixed[np.argsort(-score[mixed], kind="stable")[:k]]
        hits.append(truth[first].mean())
    found = metric_named(f"precision@k={k}").of(score, truth)
    assert found == pytest.approx(np.mean(hits), abs=4 * 0.5 / np.sqrt(200))
    if len(np.unique(score)) == len(score):
        assert found == pytest.approx(hits[0])


@quick
@given(scored(), st.integers(0, 2**31))
def test_a_weight_of_two_is_the_request_twice_and_order_does_not_matter(sample, seed):
    score, truth, _ = sample
    chance = np.random.default_rng(seed)
    times = chance.integers(0, 3, len(score))
    mixed = chance.permutation(int(times.sum()))
    repeated, again = np.repeat(score, times)[mixed], np.repeat(truth, times)[mixed]
    for name in ("roc-auc", "pr-auc", "recall@fpr=0.3", "precision@k=3", "f1", "accuracy", "rmse"):
        metric = metric_named(name)
        once = metric.of(score, truth, weights=times)
        twice = metric.of(repeated, again)
        if isinstance(once, Undefined):
            assert once == twice
        else:
            same(once, twice)
