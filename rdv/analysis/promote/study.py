"""Compare champion and challenger in their newest versions; turn that into the gate's figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rdv.analysis.compare import compare
from rdv.analysis.compare.result import Comparison, ModelFigures
from rdv.analysis.compare.truths import Judged, Points
from rdv.analysis.dataset.keys import Keys
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.measure import ROBUST, Measure
from rdv.analysis.measure.sides import SHARE
from rdv.analysis.metrics import Undefined, difference, estimate, looks, metric_named, sequence
from rdv.analysis.metrics.estimate import Found
from rdv.analysis.promote.behaviour import Expected
from rdv.analysis.promote.gate import ClassLoss, Figures, Quality
from rdv.analysis.promote.newest import Newest, newest_version
from rdv.analysis.promote.watch import Bounds
from rdv.analysis.statistics import Interval, InvalidSample
from rdv.analysis.statistics.distributions import two_sided_z
from rdv.decision import Gate as Limits
from rdv.decision.outcome import INFERRED, Outcome
from rdv.decision.value import UNDECLARED, Value

CONFIDENCE = 0.95
RANKS_MIN = 4.0
RANK_MOST = 1 - 1e-9
CLASSES_MAX = 20
"""The maximum number of classes that are judged each, the most frequent."""


@dataclasses.dataclass(frozen=True)
class Compared:
    """The comparison of champion (`found.first`) and challenger, each in its newest version."""

    found: Comparison
    champion: Newest
    challenger: Newest

    def versions(self) -> str:
        """Return which versions are compared, and what does not count, in words."""
        parts = []
        for one in (self.challenger, self.champion):
            rest = f" ({one.earlier:,} earlier results of other versions)" if one.earlier else ""
            parts.append(f"{one.model} {one.version or 'without a result'}{rest}")
        return f"only the newest versions count: {', '.join(parts)}"


def compare_newest(
    recorded: Recorded,
    champion: str,
    challenger: str,
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    outcome: Outcome = INFERRED,
    on: str | None = None,
    metric: str = "",
    value: Value = UNDECLARED,
    canary: str | None = None,
    window_ms: float | None = None,
    cohort: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Compared:
    """Compare the two on the requests since both have been in their newest versions.

    `metric` is that of [gate]; without one that of [outcome] counts, or one by type. With `cohort`
    only its requests count. Raises what `compare` raises.
    """
    newest = [newest_version(recorded, name, since_ns, until_ns) for name in (champion, challenger)]
    begins = [since_ns, *(one.since_ns for one in newest)]
    found = compare(
        recorded,
        champion,
        challenger,
        max((one for one in begins if one is not None), default=None),
        until_ns,
        outcome=outcome,
        on=on,
        metric=metric,
        value=value,
        defaults=ROBUST,
        canary=canary,
        window_ms=window_ms,
        cohort=cohort,
        progress=progress,
    )
    return Compared(found, newest[0], newest[1])


def figures_of(compared: Compared, limits: Limits) -> Figures:
    """Return the figures of the gate. Raises UnknownMetric, InvalidMetric."""
    found = compared.found
    champion, challenger = found.first, found.second
    drift = next((one for one in found.drift if one.model == challenger.name), None)
    classes = found.classes
    agreement = agreement_of(found, limits.looks)
    kappa = None if classes is None else _known(classes.kappa)
    quality, problem = quality_of(found.judged, limits, found.points)
    outcomes = len(found.judged) * found.judged.thinned
    return Figures(
        both=found.both,
        judged=len(found.judged),
        coverage=min(1.0, outcomes / found.both) if found.both else 0.0,
        quality=quality,
        problem=problem,
        classes=classes_of(found.judged, limits.looks),
        versions=compared.versions(),
        agreement=agreement,
        agreement_of="answers" if classes is not None else "ranks",
        kappa=None if kappa is None else kappa.estimate,
        late=_late(challenger),
        champion_late=_late(champion),
        errors=challenger.errors,
        champion_errors=champion.errors,
        refusals=challenger.refusals,
        drift="too few" if drift is None else drift.cause,
        has_canary=drift is not None and drift.is_canary,
        drift_sentence="Nothing is known of drift." if drift is None else drift.sentence,
    )


def agreement_of(found: Comparison, count: int) -> Interval | None:
    """Return how often both give the same answer, or the correlation of their ranks, by key.

    The interval holds for `count` looks. None if the answers cannot be compared.
    """
    pairs, confidence = found.pairs, looks(CONFIDENCE, count)[0]
    if pairs is None:
        return None
    if found.classes is not None:
        known = ~np.isnan(pairs.first_label) & ~np.isnan(pairs.second_label)
        same = (pairs.first_label == pairs.second_label)[known].astype(np.float64)
        by_key = estimate(SHARE, same, None, pairs.keys[known], confidence)
        if isinstance(by_key, Undefined):
            return None
        if isinstance(by_key, Interval) and by_key.bounded:
            return by_key
        return Interval(by_key.estimate, 0.0, 1.0, confidence, "too few keys")
    if found.scores is None or (ranks := _known(found.scores.correlation)) is None:
        return None
    known = np.isfinite(pairs.first) & np.isfinite(pairs.second)
    return _of_ranks(ranks.estimate, pairs.keys[known], confidence)


def _of_ranks(correlation: float, keys: Keys, confidence: float) -> Interval:
    """Return the interval of a correlation of ranks, with as many observations as keys count for.

    Bonett & Wright (2000); requests of one key are taken for one observation, which is the worst
    that they can be.
    """
    _, counts = np.unique(keys, return_counts=True)
    effective = float(counts.sum() ** 2 / (counts.astype(np.float64) ** 2).sum())
    if effective <= RANKS_MIN:
        return Interval(correlation, -1.0, 1.0, confidence, "too few keys")
    middle = math.atanh(max(-RANK_MOST, min(RANK_MOST, correlation)))
    error = math.sqrt((1 + correlation**2 / 2) / (effective - 3))
    half = two_sided_z(confidence) * error
    low, high = math.tanh(middle - half), math.tanh(middle + half)
    return Interval(
        correlation, min(low, correlation), max(high, correlation), confidence, "ranks, by key"
    )


def quality_of(
    judged: Judged, limits: Limits, points: Points | None = None
) -> tuple[Quality | None, str]:
    """Return how the two compare by the metric of [gate], or why that cannot be said.

    `points` are what the metric takes; None: what is judged.
    """
    if points is None:
        metric = metric_named(limits.metric or ROBUST[judged.extract.reading.kind])
        measure = Measure(metric, judged.extract)
        first_points, second_points = map(measure.points_of, (judged.first, judged.second))
        columns = first_points, second_points, judged.truth, judged.keys
        points = Points(measure, *columns, judged.problem, None, judged.thinned)
    if problem := points.problem or points.measure.absent:
        return None, problem
    metric, measure = points.measure.metric, points.measure
    options: dict[str, Any] = {"missing": measure.missing, "positive": measure.positive}
    try:
        found, holds = looked_at(points, limits.looks, options)
        first, second = (
            metric.of(one, points.truth, **options) for one in (points.first, points.second)
        )
    except InvalidSample as error:
        return None, f"{metric.title}: {error}"
    if not isinstance(found, Interval):
        return None, f"{metric.title}: {found.reason}"
    if isinstance(first, Undefined) or isinstance(second, Undefined):
        return None, f"{metric.title} is not defined for both models"
    is_share = metric.spread in ("share", "bounded")
    loss_max = limits.loss_max if is_share else limits.relative_loss_max * abs(first)
    return (
        Quality(
            metric.title,
            f"{metric.text(first)} {measure.unit}".rstrip(),
            f"{metric.text(second)} {measure.unit}".rstrip(),
            found if metric.higher_is_better else _negated(found),
            loss_max,
            is_share=metric.unit == "%",
            holds=holds,
            per_day=points.per_day if metric.name == "value" else None,
            unit=measure.unit,
        ),
        "",
    )


def looked_at(points: Points, count: int, options: dict[str, Any]) -> tuple[Found, str]:
    """Return the first's value minus the second's, valid for `count` looks; and that in words.

    A mean has a sequence that is valid at all looks, from 100 keys on. For others, and before, the
    level is spread over the looks.
    """
    metric = points.measure.metric
    columns = (metric, points.first, points.second, points.truth, points.keys)
    if metric.is_mean and count > 1:
        found = sequence(*columns, CONFIDENCE, **options)
        if isinstance(found, Interval):
            return found, "at any look"
    found = difference(*columns, looks(CONFIDENCE, count)[0], **options)
    return found, f"for {count} looks" if count > 1 else "for one look"


def classes_of(judged: Judged, count: int = 1) -> tuple[ClassLoss, ...]:
    """Return for each class of the outcomes how much less often the challenger is right.

    The intervals hold for `count` looks, each.
    """
    if judged.problem or not judged.extract.reading.has_right:
        return ()
    extract, truth = judged.extract, judged.truth
    first, second = (extract.judge(one, truth) for one in (judged.first, judged.second))
    values, counts = np.unique(truth, return_counts=True)
    metric, found = metric_named("value"), []
    confidence = looks(CONFIDENCE, count)[0]
    for at in np.argsort(-counts, kind="stable")[:CLASSES_MAX].tolist():
        rows = truth == values[at]
        loss = difference(metric, first[rows], second[rows], None, judged.keys[rows], confidence)
        known = loss if isinstance(loss, Interval) else None
        found.append(ClassLoss(extract.truth_name(float(values[at])), int(counts[at]), known))
    return tuple(found)


def _negated(one: Interval) -> Interval:
    return Interval(-one.estimate, -one.high, -one.low, one.confidence, one.method, one.peeking)


SCORES_MORE = 0.15
"""How many more of its scores than before may be low, middle or high, at least."""
DISAGREE_MORE = 0.05
"""How much more often than before it may disagree, at least."""
WORSE_MAX = 0.6
"""How often the old champion may be the better one of two that differ: a half is chance."""


def bounds_of(found: Comparison, limits: Limits, expected: Expected) -> Bounds:
    """Return what a watched champion may do: no worse than before, by the same limits."""
    total = max(1, sum(found.kinds.values()))
    factor = limits.marginal_factor
    late = max(limits.late_max, _late(found.second), _late(found.first))
    return Bounds(
        misses=limits.late_max + found.late / total,
        defaults=limits.defaults_max + found.kinds.get("default", 0) / total,
        errors=max(limits.errors_max, found.second.errors) * factor,
        others=min(0.5, factor * late),
        disagreements=_more(expected.disagreements),
        **({} if expected.scores is None else _more_scores(expected.scores.shares)),
        worse=None if found.judged.extract.reading.problem else WORSE_MAX,
    )


def _more_scores(shares: Mapping[str, float]) -> dict[str, float]:
    return {kind: one + max(SCORES_MORE, (1 - one) / 4) for kind, one in shares.items() if one < 1}


def _more(disagreements: float | None) -> float | None:
    """Return the limit for a share of disagreements: half as many more, or DISAGREE_MORE."""
    if disagreements is None:
        return None
    limit = disagreements + max(DISAGREE_MORE, disagreements / 2)
    return limit if limit < 1 else None


def _late(model: ModelFigures) -> float:
    return 0.0 if model.in_window is None else 1 - model.in_window


def _known(value: Interval | None) -> Interval | None:
    return value if value is not None and value.estimate == value.estimate else None
