"""Estimates where the answer given causes the outcome: a click tells of what was shown only.

A randomised request tells how good a policy is only if the policy's answer is the one given. It
counts by the inverse of the probability that this answer was given: that of each schedule that the
request may have got and that answers the same, together; times the share of known outcomes among
such answers. Only requests count that could have got the answers of both policies, so that both are
measured on the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import Names
from rdv.analysis.dataset.keys import Keys
from rdv.analysis.dataset.reading import Reading, class_name, part_of
from rdv.analysis.dataset.values import Extract, Rankings, Texts
from rdv.analysis.exploration.result import Policy
from rdv.analysis.measure import Measure
from rdv.analysis.metrics import TooFew, Undefined, difference, estimate, metric_named
from rdv.analysis.statistics import Interval, InvalidSample
from rdv.analysis.statistics.off_policy import (
    chance_of_answer,
    doubly_robust,
    effective_number,
    expected_by_group,
    self_normalised,
)
from rdv.payload import read_recorded

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Found = Interval | TooFew | Undefined
CLASS_MIN = 50
"""The minimum number of equal answers that have a share of known outcomes of their own."""
UNSUPPORTED = "no randomised request could have got the answers of both"
UNMATCHED = "no randomised request with a known outcome got its answer"


@dataclass(frozen=True)
class Drawn:
    """Columns (n,) of randomised requests; `answers` of both policies are NaN where there is none.

    `points` are what the metric takes of both policies' answers.
    """

    given: Floats
    other: Floats
    propensity: Floats
    truths: Floats
    points: tuple[Floats, Floats]
    answers: tuple[Floats, Floats]
    keys: Keys


@dataclass(frozen=True)
class Estimates:
    """Both policies by each method, and how much is known of them."""

    policies: tuple[Policy, ...] = ()
    supported: float = 0.0
    effective: float = 0.0
    problem: str = ""


def same_answers(extract: Extract, field: str) -> Callable[[Floats], Floats]:
    """Return what tells answers apart by their values: equal answers have equal numbers.

    A probability counts by its side of the threshold. The answers that a function of [value] gets
    are whole ones: they count by the `field` that is declared to be judged, if one is.
    """
    reading: Reading = extract.reading
    if reading.kind == "probability":
        return lambda values: np.where(np.isnan(values), np.nan, values >= reading.threshold)
    if not field or not isinstance(extract, Texts) or isinstance(extract, Rankings):
        return lambda values: values
    names, codes = Names(), dict[float, float]()

    def by_field(values: Floats) -> Floats:
        different, place = np.unique(values, return_inverse=True)
        for value in different.tolist():
            if value not in codes and value == value:  # noqa: PLR0124 - NaN
                name = class_name(part_of(read_recorded(extract.text(value)), field))
                codes[value] = np.nan if name is None else float(names[name])
        return np.array([codes.get(one, np.nan) for one in different.tolist()])[place]

    return by_field


def caused_estimates(measure: Measure, drawn: Drawn) -> Estimates:
    """Return both policies by inverse propensity, and doubly robust."""
    known = ~np.isnan(drawn.truths)
    chance = chance_of_answer(drawn.given, drawn.other, drawn.propensity)
    seen = chance * _known_share(drawn.given, known)
    both = np.logical_and(*(_could_have_got(drawn, answers) for answers in drawn.answers))
    if not both.any():
        return Estimates(problem=UNSUPPORTED)
    weighted, robust, effective = list[Floats](), list[Floats](), list[float]()
    keys = drawn.keys[both]
    for points, answers in zip(drawn.points, drawn.answers, strict=True):
        truths = np.where(answers == drawn.given, drawn.truths, np.nan)
        earned = measure.rows(points, truths)[both]
        is_there = ~np.isnan(earned)
        weights = np.where(is_there, 1 / np.where(seen > 0, seen, 1)[both], 0.0)
        rewards = np.nan_to_num(earned)
        try:
            weighted.append(self_normalised(rewards, weights))
        except InvalidSample:
            return Estimates(supported=float(both.mean()), problem=UNMATCHED)
        expected = expected_by_group(earned, weights, answers[both], keys)
        robust.append(doubly_robust(rewards, weights, expected, expected))
        effective.append(effective_number(weights))
    policies = (
        _policy("inverse propensity, same answer", weighted, keys),
        _policy("doubly robust, same answer", robust, keys),
    )
    return Estimates(policies, float(both.mean()), min(effective))


def _could_have_got(drawn: Drawn, answers: Floats) -> Bools:
    """Return which requests had a chance of this answer."""
    by_other = (answers == drawn.other) & (drawn.propensity < 1)
    return np.asarray((answers == drawn.given) | by_other)


def _known_share(given: Floats, known: Bools) -> Floats:
    """Return the share of known outcomes among requests with the same answer.

    Answers that few requests got share that of all of these.
    """
    _, place, counts = np.unique(given, return_inverse=True, return_counts=True)
    group = np.where(counts >= CLASS_MIN, np.arange(len(counts)), len(counts))[place]
    total = np.bincount(group)
    return np.asarray((np.bincount(group, known) / np.maximum(1, total))[group])


def _policy(method: str, rows: list[Floats], keys: Any) -> Policy:
    mean = metric_named("value")
    first, second = rows
    return Policy(
        method,
        estimate(mean, first, keys=keys),
        estimate(mean, second, keys=keys),
        difference(mean, first, second, keys=keys),
    )
