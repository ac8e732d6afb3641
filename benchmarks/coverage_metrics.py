"""Rows of the table of `benchmarks.coverage` for `rdv.analysis.metrics`; the tests use them, too.

Requests come by key: all of a key's requests have an effect of the key on what is true and on what
each model answers, so that they are far from independent. The truth of a metric is its value in one
large sample. "no difference" compares two models that err alike and independently; it counts how
often the interval covers 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.metrics import (
    Cohort,
    Lists,
    TooFew,
    Undefined,
    cohort_sequence,
    difference,
    estimate,
    metric_named,
    sequence,
)
from rdv.analysis.statistics import Interval

Chance = np.random.Generator
Floats = npt.NDArray[Any]
Row = tuple[str, str, str, Callable[[Chance], bool | None], int]
Answers = tuple[Floats | Lists, Floats | Lists, Floats | Lists]
"""Of the first model, of the second, and the truths."""

RUNS, RESAMPLED, LOOKED = 1000, 300, 150
"""The runs of a row: the usual ones; of metrics that are resampled; of sequences."""
LARGE = 60_000
MEAN_SIZE = 10
LOOKS = 30


def of_keys(c: Chance, keys: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the key of each request (some keys have many), and the key's effect on each."""
    sizes = c.geometric(1 / MEAN_SIZE, keys)
    place = np.repeat(np.arange(keys), sizes)
    return place, c.normal(size=keys)[place]


def scores(c: Chance, place: npt.NDArray[np.int64], effect: Floats) -> Answers:
    truth = (c.random(len(place)) < 1 / (1 + np.exp(1.5 - effect))).astype(float)

    def model() -> Floats:
        own = c.normal(size=int(place.max()) + 1)[place]
        return 1.4 * truth + 0.6 * own + 0.7 * c.normal(size=len(place))

    return model(), model(), truth


def probabilities(c: Chance, place: npt.NDArray[np.int64], effect: Floats) -> Answers:
    first, second, truth = scores(c, place, effect)
    return (
        1 / (1 + np.exp(1.5 - 1.2 * np.asarray(first))),
        1 / (1 + np.exp(1.5 - 1.2 * np.asarray(second))),
        truth,
    )


def labels(c: Chance, place: npt.NDArray[np.int64], effect: Floats) -> Answers:
    first, second, truth = scores(c, place, effect)
    return (np.asarray(first) > 0.7) * 1.0, (np.asarray(second) > 0.7) * 1.0, truth


def numbers(c: Chance, place: npt.NDArray[np.int64], effect: Floats) -> Answers:
    truth = 10 + 3 * effect + c.normal(size=len(place))

    def model() -> Floats:
        own = c.normal(size=int(place.max()) + 1)[place]
        return truth + own + c.exponential(size=len(place)) - 1

    return model(), model(), truth


def values(c: Chance, place: npt.NDArray[np.int64], effect: Floats) -> Answers:
    def model() -> Floats:
        return c.exponential(size=len(place)) * np.exp(effect / 2)

    return model(), model(), np.zeros(len(place))


def lists(c: Chance, place: npt.NDArray[np.int64], effect: Floats) -> Answers:
    items = 8
    gains = (c.random((len(place), items)) < 0.2) * 1.0
    lengths: npt.NDArray[np.int64] = np.full(len(place), items)

    def model() -> Lists:
        strength = 1.5 + effect + c.normal(size=int(place.max()) + 1)[place]
        found = strength[:, None] * gains + c.normal(size=gains.shape)
        return Lists(np.asarray(found.ravel(), np.float64), lengths)

    return model(), model(), Lists(np.asarray(gains.ravel(), np.float64), lengths)


Draw = Callable[[Chance, npt.NDArray[np.int64], Floats], Answers]
DRAWS: dict[str, Draw] = {
    "accuracy": labels,
    "balanced-accuracy": labels,
    "f1": labels,
    "roc-auc": scores,
    "pr-auc": scores,
    "recall@fpr=0.1": scores,
    "precision@k=100": scores,
    "log-loss": probabilities,
    "brier": probabilities,
    "calibration": probabilities,
    "mae": numbers,
    "rmse": numbers,
    "pinball@0.9": numbers,
    "value": values,
    "ndcg@3": lists,
    "mrr": lists,
    "list-precision@3": lists,
    "hit-rate@1": lists,
}


@cache
def truth_of(name: str, keys: int) -> float:
    """Return the metric of one large sample; of precision at k for the same share of requests."""
    c = np.random.default_rng(0)
    place, effect = of_keys(c, LARGE)
    first, _, truth = DRAWS[name](c, place, effect)
    if name.startswith("precision"):
        k = float(name.partition("=")[2]) / (keys * MEAN_SIZE)
        name = f"precision@k={round(k * len(place))}"
    found = metric_named(name).of(first, truth)
    assert not isinstance(found, Undefined)
    return found


def covers(found: Interval | TooFew | Undefined, truth: float) -> bool | None:
    """Return None where no interval is given."""
    return found.covers(truth) if isinstance(found, Interval) else None


def one_model(name: str, keys: int) -> Callable[[Chance], bool | None]:
    def trial(c: Chance) -> bool | None:
        place, effect = of_keys(c, keys)
        first, _, truth = DRAWS[name](c, place, effect)
        return covers(estimate(metric_named(name), first, truth, place), truth_of(name, keys))

    return trial


def no_difference(name: str, keys: int) -> Callable[[Chance], bool | None]:
    def trial(c: Chance) -> bool | None:
        place, effect = of_keys(c, keys)
        return covers(difference(metric_named(name), *DRAWS[name](c, place, effect), place), 0)

    return trial


def rare_errors(c: Chance) -> bool | None:
    """One key in a hundred is always wrong: mostly, no error at all is seen."""
    place = np.repeat(np.arange(60), 5)
    truth = c.integers(0, 2, 300).astype(float)
    wrong = (c.random(60) < 0.01)[place]
    answer = np.where(wrong, 1 - truth, truth)
    return covers(estimate(metric_named("accuracy"), answer, truth, place), 0.99)


def runs_of(name: str) -> int:
    return RESAMPLED if name.startswith(("recall", "precision", "calibration")) else RUNS


def rows() -> Iterator[Row]:
    for name in DRAWS:
        sample = f"200 keys, {200 * MEAN_SIZE:,} requests"
        yield "by key, one look", f"`{name}`", sample, one_model(name, 200), runs_of(name)
    for name in DRAWS:
        yield (
            "difference by key, one look",
            f"`{name}`",
            "100 keys, no difference",
            no_difference(name, 100),
            runs_of(name),
        )
    yield "by key, one look", "`accuracy`", "60 keys, one in 100 always wrong", rare_errors, RUNS
    yield from sequences()


SKEWED: dict[str, Callable[[Chance, int], Floats]] = {
    "lognormal, sigma 2": lambda c, count: c.lognormal(0, 2, count),
    "2 % bring revenue": lambda c, count: (c.random(count) < 0.02) * c.lognormal(0, 1, count),
    "exponential": lambda c, count: c.exponential(size=count),
    "2 % ones": lambda c, count: (c.random(count) < 0.02) * 1.0,
}

MEANS = {
    "lognormal, sigma 2": float(np.exp(2)),
    "2 % bring revenue": 0.02 * float(np.exp(0.5)),
    "exponential": 1.0,
    "2 % ones": 0.02,
}


def in_cohorts(name: str, keys: int, share: float) -> Callable[[Chance], bool | None]:
    """Look 30 times at two cohorts that are alike."""

    def trial(c: Chance) -> bool | None:
        drawn, treated = SKEWED[name](c, keys), c.random(keys) < share
        held: list[bool] = []
        for end in np.linspace(keys / LOOKS, keys, LOOKS).astype(int).tolist():
            arms = [drawn[:end][treated[:end] == side] for side in (True, False)]
            if min(map(len, arms)) > 0:
                first, second = (Cohort.of(one, np.ones(len(one))) for one in arms)
                found = cohort_sequence(name, first, second)
                if isinstance(found, Interval):
                    held.append(found.covers(0))
        return all(held) if held else None

    return trial


def in_pairs(name: str, keys: int) -> Callable[[Chance], bool | None]:
    """Look 30 times at a difference that is skewed: one of the two has nothing."""
    mean = MEANS[name]

    def trial(c: Chance) -> bool | None:
        drawn, nothing = SKEWED[name](c, keys), np.zeros(keys)
        held: list[bool] = []
        for end in np.linspace(keys / LOOKS, keys, LOOKS).astype(int).tolist():
            found = sequence(metric_named("value"), drawn[:end], nothing[:end])
            if isinstance(found, Interval):
                held.append(found.covers(mean))
        return all(held) if held else None

    return trial


def sequences() -> Iterator[Row]:
    for name in SKEWED:
        yield (
            "sequence of two cohorts, 30 looks",
            name,
            "20,000 keys, a cohort of 10 %",
            in_cohorts(name, 20_000, 0.1),
            LOOKED,
        )
        yield "sequence of pairs, 30 looks", name, "5,000 keys", in_pairs(name, 5000), LOOKED


def measure(
    trial: Callable[[Chance], bool | None], trials: int, seed: int
) -> tuple[float | None, float]:
    """Return the share of intervals that cover (None without any), and that of trials without."""
    c = np.random.default_rng(seed)
    found = [trial(c) for _ in range(trials)]
    given = [one for one in found if one is not None]
    return (sum(given) / len(given) if given else None), 1 - len(given) / trials
