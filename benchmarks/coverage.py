"""Measure how often each 95 % interval of `rdv.analysis.statistics` covers the truth.

    python -m benchmarks.coverage [--trials 4000] > docs/explanation/coverage.md     (make coverage)

Each row draws many samples for which the truth is known, makes the interval of each, and counts.
Sequential intervals are looked at after every chunk of a growing sample; such a trial counts as
covered only if the interval covered the truth at every look. Seeded: the same code prints the same
table. Takes a few minutes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks import coverage_metrics
from rdv.analysis.statistics import (
    Arm,
    Interval,
    agreement_of_classes,
    agreement_of_scores,
    clopper_pearson,
    compare_means,
    difference_of_proportions,
    effect,
    paired_effect,
    proportion_sequence,
    quantile_interval,
    shares_of_counts,
    wilson,
)

Chance = np.random.Generator
Trial = Callable[[Chance], bool]
Counts = Callable[[int, int], Interval]
Row = tuple[str, str, str, Trial]

HEAD = """# Measured coverage of the intervals

Every figure that rdv prints with an interval claims that the interval covers the truth in 95 % of
all cases. `make coverage` measures it: it draws samples whose truth is known, makes the interval
and counts. The sampling error of each row is below 0.4 points for intervals that cover 95 %.

| Interval | Used by | Sample | Covers |
| --- | --- | --- | --- |"""

FOOT = """
An interval for any number of looks is wider, and covers more than 95 % at the looks that are made
here, because it also has to hold at those that are not. Wilson's interval is right on average over
all shares, not at each; near 0 and 1 in small samples it may cover less. The exact interval never
covers less than it claims, and usually more. Intervals of samples whose requests are not
independent (many requests of one key) cover far less, which is why `rdv ab` takes the key as its
unit.
"""


def shares() -> Iterator[Row]:
    def row(name: str, used_by: str, interval: Counts, share: float, count: int) -> Row:
        def trial(c: Chance) -> bool:
            return interval(int(c.binomial(count, share)), count).covers(share)

        return name, used_by, f"{count:,} requests, share {share:g}", trial

    for share, count in ((0.5, 20), (0.05, 100), (0.001, 2000)):
        yield row("Wilson", "shares of answers", wilson, share, count)
        yield row("Clopper-Pearson", "shares with a guarantee", clopper_pearson, share, count)

    def newcombe(c: Chance) -> bool:
        a, b = int(c.binomial(200, 0.3)), int(c.binomial(100, 0.1))
        return difference_of_proportions(a, 200, b, 100).covers(0.2)

    yield "Newcombe", "differences of shares", "200 and 100 requests, 0.3 and 0.1", newcombe


def quantiles() -> Iterator[Row]:
    def row(level: float, count: int) -> Row:
        def trial(c: Chance) -> bool:
            found = quantile_interval(c.exponential(size=count), level)
            return found.covers(-math.log(1 - level))

        sample = f"{count:,} exponential latencies, p{level * 100:g}"
        return "order statistics", "latency percentiles", sample, trial

    yield row(0.5, 100)
    yield row(0.99, 2000)


def pairs() -> Iterator[Row]:
    def shares_of_pairs(c: Chance) -> bool:
        both, a, b, neither = (int(x) for x in c.multinomial(300, [0.8, 0.08, 0.04, 0.08]))
        return shares_of_counts(both, a, b, neither).difference.covers(0.04)

    def means(c: Chance) -> bool:
        x = c.normal(size=60)
        return compare_means(x + 0.3, x + c.normal(scale=0.5, size=60)).difference.covers(0.3)

    yield (
        "Bonett & Price",
        "McNemar comparisons",
        "300 paired requests",
        shares_of_pairs,
    )
    yield "paired Student", "differences of a loss", "60 paired requests", means


def agreement() -> Iterator[Row]:
    def kappa(c: Chance) -> bool:
        cells = c.choice(4, size=500, p=[0.45, 0.1, 0.15, 0.3])
        first, second = 0.55, 0.6
        expected = first * second + (1 - first) * (1 - second)
        return agreement_of_classes(cells // 2, cells % 2).kappa.covers(
            (0.75 - expected) / (1 - expected)
        )

    def ranks(c: Chance) -> bool:
        x = c.normal(size=200)
        y = 0.8 * x + 0.6 * c.normal(size=200)
        return agreement_of_scores(x, y).correlation.covers(6 / math.pi * math.asin(0.4))

    yield "Fleiss, Cohen & Everitt", "kappa", "500 requests, 2 classes", kappa
    yield "Bonett & Wright", "rank correlation", "200 requests, correlation 0.8", ranks


LOOKS = 20


def sequences() -> Iterator[Row]:
    def share(c: Chance) -> bool:
        hits = np.cumsum(c.random(LOOKS * 100) < 0.1)[99::100]
        looks = zip(hits, range(100, LOOKS * 100 + 1, 100), strict=True)
        return all(proportion_sequence(int(k), n).covers(0.1) for k, n in looks)

    def mean(c: Chance) -> bool:
        a, b = c.exponential(size=(2, LOOKS * 200))
        ends = range(200, LOOKS * 200 + 1, 200)
        return all(
            effect(Arm.of("a", a[:n]), Arm.of("b", b[:n])).difference.covers(0) for n in ends
        )

    def mean_once(c: Chance) -> bool:
        a, b = c.exponential(size=(2, 1000))
        return effect(Arm.of("a", a), Arm.of("b", b)).once.covers(0)

    def paired(c: Chance) -> bool:
        right = c.random((2, LOOKS * 200)) < 0.8
        ends = range(200, LOOKS * 200 + 1, 200)
        return all(paired_effect(*right[:, :n].astype(float)).difference.covers(0) for n in ends)

    looked = f"{LOOKS} looks, all of them"
    yield "confidence sequence (Robbins)", "shares in `rdv ab`", f"2,000 units, {looked}", share
    yield (
        "confidence sequence (theorem 2.2)",
        "`rdv ab`",
        f"4,000 units in each arm, {looked}",
        mean,
    )
    yield "the same, one look", "`rdv ab`, `once`", "1,000 units in each arm", mean_once
    yield "confidence sequence of pairs", "`rdv ab`", f"4,000 pairs, {looked}", paired


def measure(trial: Trial, trials: int, seed: int) -> float:
    chance = np.random.default_rng(seed)
    return sum(trial(chance) for _ in range(trials)) / trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4000)
    trials = parser.parse_args().trials
    print(HEAD)
    rows = [*shares(), *quantiles(), *pairs(), *agreement(), *sequences()]
    for seed, (interval, used_by, sample, trial) in enumerate(rows):
        covered = measure(trial, trials, seed)
        print(f"| {interval} | {used_by} | {sample} | {covered:.1%} |", flush=True)
    print(FOOT, end="")
    coverage_metrics.print_table(max(1, trials // coverage_metrics.FEWER))


if __name__ == "__main__":
    main()
