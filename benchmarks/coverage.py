"""Measure how often each 95 % interval that a command shows covers the truth.

    python -m benchmarks.coverage > docs/explanation/coverage.md     (make coverage)

Each row draws many samples for which the truth is known, makes the interval of each, and counts.
Sequential intervals are looked at after every chunk of a growing sample; such a trial counts as
covered only if the interval covered the truth at every look. Seeded: the same code prints the same
table. Takes some eight minutes on one core; two processes share the rows.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from benchmarks import coverage_metrics
from rdv.analysis.compare.drift import Span, drift_of
from rdv.analysis.dataset.reading import Reading
from rdv.analysis.dataset.values import Extract
from rdv.analysis.digests.past import PastColumn
from rdv.analysis.exploration.caused import Drawn, caused_estimates
from rdv.analysis.measure.measure import RowMeasure
from rdv.analysis.measure.waits import wait_quantile
from rdv.analysis.metrics import estimate, metric_named
from rdv.analysis.statistics import (
    Arm,
    Interval,
    agreement_of_classes,
    agreement_of_scores,
    effect,
    proportion_sequence,
    quantile_interval,
    shares_of_counts,
    wilson,
)
from rdv.analysis.statistics.drift.timeline import HOUR_NS, WEEK_NS

Chance = np.random.Generator
Trial = Callable[[Chance], bool | None]
Row = tuple[str, str, str, Trial, int]
"""The method, who uses it, the sample, a trial, and how many of them."""

CHEAP = 4000
PROMISE = "95 %"
HEAD = """# Measured coverage of the intervals

Every figure that rdv prints with an interval claims that the interval covers the truth in 95 % of
all cases, and a finding of drift that it is false in at most 5 %. `make coverage` measures both: it
draws samples whose truth is known, makes the interval, and counts. Most samples come by key (10
requests on average, some keys have many), and the requests of one key are alike: an interval that
takes requests for independent would cover far less. In "no difference" two models err equally
often, so that what is not covered is a false alarm. A sequence counts as covering only if it does
so at all looks that give an interval. "None" is how often there was none, as too little was known.
"Measured" is of the runs that gave one. The standard error of 95 % is 0.3 points with 4,000,
0.5 with 2,000, 0.7 with 1,000, 1.3 with 300, 1.8 with 150, 2.4 with 80.

| Method | Used by | Sample | Promise | Measured | None | Runs |
| --- | --- | --- | --- | --- | --- | --- |"""

FOOT = """
An interval for any number of looks is wider, and covers more than 95 % at the looks that are made
here, because it also has to hold at those that are not. Wilson's interval is right on average over
all shares, not at each; near 0 and 1 in small samples it may cover less.
"""


def shares() -> Iterator[Row]:
    def row(share: float, count: int) -> Row:
        def trial(c: Chance) -> bool:
            return wilson(int(c.binomial(count, share)), count).covers(share)

        return "Wilson", "shares of answers", f"{count:,} requests, share {share:g}", trial, CHEAP

    for share, count in ((0.5, 20), (0.05, 100), (0.001, 2000)):
        yield row(share, count)


def quantiles() -> Iterator[Row]:
    def row(level: float, count: int) -> Row:
        def trial(c: Chance) -> bool:
            found = quantile_interval(c.exponential(size=count), level)
            return found.covers(-math.log(1 - level))

        sample = f"{count:,} exponential latencies, p{level * 100:g}"
        return "order statistics", "latency percentiles", sample, trial, CHEAP

    def by_key(c: Chance) -> bool:
        place, effect = coverage_metrics.of_keys(c, 300)
        waits_ms = np.exp(effect + c.normal(size=len(place)))
        found = wait_quantile(waits_ms, 0.9, place.astype(np.uint64))
        return found.covers(math.exp(math.sqrt(2) * 1.2815515655446004))

    yield row(0.5, 100)
    yield row(0.99, 2000)
    yield "quantile by key", "p99 in `rdv optimise`", "300 keys, p90", by_key, 1000


def pairs() -> Iterator[Row]:
    def shares_of_pairs(c: Chance) -> bool:
        both, a, b, neither = (int(x) for x in c.multinomial(300, [0.8, 0.08, 0.04, 0.08]))
        return shares_of_counts(both, a, b, neither).difference.covers(0.04)

    yield (
        "Bonett & Price",
        "McNemar comparisons",
        "300 paired requests",
        shares_of_pairs,
        CHEAP,
    )


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

    yield "Fleiss, Cohen & Everitt", "kappa", "500 requests, 2 classes", kappa, 2000
    yield "Bonett & Wright", "rank correlation", "200 requests, correlation 0.8", ranks, 2000


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

    looked = f"{LOOKS} looks, all of them"
    yield (
        "confidence sequence (Robbins)",
        "shares in `rdv ab`",
        f"2,000 units, {looked}",
        share,
        1000,
    )
    yield (
        "confidence sequence (theorem 2.2)",
        "`rdv ab`",
        f"4,000 units in each arm, {looked}",
        mean,
        1000,
    )
    yield "the same, one look", "`rdv ab`, `once`", "1,000 units in each arm", mean_once, CHEAP


def exploration() -> Iterator[Row]:
    def inverse_propensity(c: Chance) -> bool | None:
        place, effect = coverage_metrics.of_keys(c, 300)
        is_seen = np.where(effect > 0, 0.9, 0.1)  # the answer decides whether truth is seen
        worth = effect + c.normal(size=len(place))
        known = c.random(len(place)) < is_seen
        found = estimate(
            metric_named("value"), worth[known], None, place[known], weights=1 / is_seen[known]
        )
        return found.covers(0.0) if isinstance(found, Interval) else None

    def same_answer(method: int) -> Trial:
        def trial(c: Chance) -> bool | None:
            drawn = clicks(c)
            measure = RowMeasure(metric_named("value"), Extract(Reading("class")))
            found = caused_estimates(measure, drawn).policies[method].difference
            return found.covers(0.15) if isinstance(found, Interval) else None

        return trial

    used = "`rdv compare`, `whatif`"
    sample = "300 keys, truth seen in 90 % or 10 % by the answer"
    yield "inverse propensity, by key", used, sample, inverse_propensity, 1000
    sample = "difference, 300 keys, clicks that the answer causes, 10 % randomised"
    yield "inverse propensity, same answer", used, sample, same_answer(0), 1000
    yield "doubly robust, same answer", used, sample, same_answer(1), 1000


def clicks(c: Chance) -> Drawn:
    """Return requests in which an exploring schedule answers 1 and the live one 0.

    The new policy answers 1 in half of them, where that has 0.3 more clicks: 0.15 on the whole.
    """
    place, effect = coverage_metrics.of_keys(c, 300)
    count = len(place)
    drawn, context = c.random(count) < 0.1, c.random(count) < 0.5
    rate = 0.3 + 0.05 * np.tanh(effect) + np.where(context, 0.3, -0.1) * drawn
    truths, given = (c.random(count) < rate).astype(float), drawn.astype(float)
    answers = context.astype(float), np.zeros(count)
    points = np.where(answers[0] == given, truths, np.nan), np.where(drawn, np.nan, truths)
    propensity = np.where(drawn, 0.1, 0.9)
    keys = place.astype(np.uint64)
    return Drawn(given, 1 - given, propensity, truths, points, answers, keys)


def drift() -> Iterator[Row]:
    def level(hours: coverage_metrics.Floats) -> coverage_metrics.Floats:
        found: coverage_metrics.Floats = np.sin(2 * np.pi * hours / 24)
        found += 1.5 * (hours // 24 % 7 >= 5)
        return found

    def column(c: Chance, hours: coverage_metrics.Floats) -> coverage_metrics.Floats:
        return level(hours) + c.normal(size=len(hours))

    def alone(c: Chance) -> bool:
        hours = np.sort(c.uniform(0, 28 * 24, 12_000))
        first, second = column(c, hours), column(c, hours)
        keys = np.arange(len(hours), dtype=np.uint64)
        times_ns = (hours * HOUR_NS).astype(np.int64)
        return (
            drift_of("m", "c", times_ns, first, second, is_canary=True, keys=keys).cause == "steady"
        )

    def past(c: Chance) -> bool:
        before = np.repeat(np.arange(21 * 24), 40)
        keys = np.arange(len(before), dtype=np.uint64)
        times_ns, ones = before * HOUR_NS, np.ones(len(before))
        earlier = [PastColumn(times_ns, column(c, before), keys, ones) for _ in range(2)]
        hours = np.sort(c.uniform(21 * 24, 28 * 24, 6_000))
        found = drift_of(
            "m",
            "c",
            (hours * HOUR_NS).astype(np.int64),
            column(c, hours),
            column(c, hours),
            is_canary=True,
            keys=np.arange(len(hours), dtype=np.uint64),
            span=Span(0, WEEK_NS, 3),
            before=(earlier[0], earlier[1]),
        )
        return found.cause == "steady"

    used, cycle = "`rdv compare`", "a daily cycle and weekends"
    yield "no drift said, from the log", used, f"{cycle}, 28 days of log", alone, 300
    yield "no drift said, with digests", used, f"{cycle}, 7 days of log, 3 weeks before", past, 300


def every_row() -> list[Row]:
    parts = (
        shares,
        quantiles,
        pairs,
        agreement,
        sequences,
        exploration,
        drift,
        coverage_metrics.rows,
    )
    return [row for part in parts for row in part()]


def line(number: int, share: float = 1.0) -> str:
    """Measure one row; return its line of the table."""
    method, used_by, sample, trial, runs = every_row()[number]
    runs = max(4, round(runs * share))
    covered, none = coverage_metrics.measure(trial, runs, number)
    figure = "-" if covered is None else f"{covered:.1%}"
    return f"| {method} | {used_by} | {sample} | {PROMISE} | {figure} | {none:.0%} | {runs:,} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the runs of each row")
    share = parser.parse_args().share
    print(HEAD)
    count = len(every_row())
    with ProcessPoolExecutor(2, initializer=os.nice, initargs=(10,)) as pool:
        for text in pool.map(line, range(count), [share] * count):
            print(text, flush=True)
    print(FOOT, end="")


if __name__ == "__main__":
    main()
