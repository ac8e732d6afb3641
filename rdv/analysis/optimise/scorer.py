"""Score the answers of a schedule by any metric; intervals are by key.

A metric that is a mean is known for each request, so that thousands of candidates can be scored
over cells. Another one is of all requests together: candidates are chosen by a guide, which is a
mean, and then scored exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.keys import Keys
from rdv.analysis.measure import Measure
from rdv.analysis.measure.contrast import as_interval, negated
from rdv.analysis.metrics import Metric, Missing, Undefined, difference, estimate, metric_named
from rdv.analysis.statistics import Interval, InvalidSample

if TYPE_CHECKING:
    from rdv.analysis.optimise.cells import Columns

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scorer:
    """Scores what answers earned: `Columns.right` for a mean, else `Columns.points`."""

    metric: Metric
    missing: Missing = "wrong"
    positive: float | None = None

    @property
    def guide(self) -> str:
        """The mean by which candidates of another metric are chosen, in words; empty for a mean."""
        if self.metric.is_mean:
            return ""
        return _GUIDES[self.metric.needs]

    def value(self, answers: Floats, columns: Columns) -> float:
        """Return the metric, negative for a loss; -inf where it has no value."""
        known = _known(answers, columns)
        if not known.any():
            return 0.0 if columns.truths is None else -np.inf
        if columns.truths is None:
            return float(answers[known].mean())
        try:
            found = self.metric.of(answers[known], columns.truths[known], **self._options)
        except InvalidSample:
            return -np.inf
        if isinstance(found, Undefined):
            return -np.inf
        return found if self.metric.higher_is_better else -found

    def problem(self, answers: Floats, columns: Columns) -> str:
        """Return why the metric of these answers has no value; empty if it has one."""
        if columns.truths is None:
            return ""
        known = _known(answers, columns)
        try:
            found = self.metric.of(answers[known], columns.truths[known], **self._options)
        except InvalidSample as error:
            return error.text()
        return found.reason if isinstance(found, Undefined) else ""

    def score(self, answers: Floats, columns: Columns) -> Interval:
        """Return the metric of these answers; an interval without ends with too few keys."""
        known = _known(answers, columns)
        if not known.any():
            return as_interval(None)
        keys = units(columns.keys, known)
        if columns.truths is None:
            rows = answers[known] if self.metric.higher_is_better else -answers[known]
            return as_interval(estimate(_of_rows(self.metric), rows, keys=keys))
        truths = columns.truths[known]
        try:
            found = estimate(self.metric, answers[known], truths, keys=keys, **self._options)
        except InvalidSample:
            found = None
        return as_interval(found)

    def gain(self, new: Floats, live: Floats, columns: Columns) -> Interval:
        """Return how much better the new answers are, paired by request."""
        both = _known(new, columns) & _known(live, columns)
        if not both.any():
            return as_interval(None)
        keys = units(columns.keys, both)
        if columns.truths is None:
            metric = _of_rows(self.metric)
            return as_interval(difference(metric, new[both], live[both], keys=keys))
        pair = new[both], live[both]
        if np.array_equal(*pair, equal_nan=True):
            return Interval(0.0, 0.0, 0.0, 1.0, "the same answers")
        truths = columns.truths[both]
        try:
            change = difference(self.metric, *pair, truths, keys=keys, **self._options)
        except InvalidSample:
            change = None
        found = as_interval(change)
        return found if self.metric.higher_is_better else negated(found)

    @property
    def _options(self) -> dict[str, Any]:
        return {"missing": self.missing, "positive": self.positive}


def _known(answers: Floats, columns: Columns) -> npt.NDArray[np.bool_]:
    """Return which requests count: a missing answer of a known outcome may count as wrong."""
    known = ~np.isnan(answers if columns.truths is None else columns.truths)
    return np.asarray(known, np.bool_)


def units(keys: Keys | None, rows: npt.NDArray[np.bool_]) -> Keys | None:
    """Return the keys of some rows; None if every request has its own."""
    if keys is None:
        return None
    chosen = keys[rows]
    return chosen if len(np.unique(chosen)) < len(chosen) else None


def _of_rows(metric: Metric) -> Metric:
    """Return the mean of values of requests that are known already, with the metric's spread."""
    return replace(metric_named("value"), name=metric.name, spread=metric.spread)


_GUIDES = {
    "class": "right answers, each class with the same weight",
    "score": "ranks among the scores of the other class",
    "probability": "squared errors",
    "number": "squared errors",
}


def guide(measure: Measure, points: Floats, truths: Floats) -> npt.NDArray[np.float32]:
    """Return a mean that stands for the metric, of each answer and request; NaN if not known.

    It is 1 or 0 for right and wrong answers, each class with the same weight; for scores the share
    of the other class's scores on the right side (its mean is a ROC AUC against all recorded
    scores); else minus the squared error.
    """
    found = np.full(points.shape, np.nan)
    known = ~np.isnan(truths)
    own, truth = points[:, known], truths[known]
    if measure.metric.needs == "class":
        good = (own == truth).astype(np.float64) * _balanced(truth)
    elif measure.metric.needs == "score":
        good = _ranks(own, truth > 0) * _balanced(truth)
    else:
        good = -((own - truth) ** 2)
    if measure.missing == "wrong":
        good = np.where(np.isnan(own), 0.0, good)
    found[:, known] = good
    return found.astype(np.float32)


def _balanced(truth: Floats) -> Floats:
    """Return weights by which each class counts the same; their mean is 1."""
    classes, place, counts = np.unique(truth, return_inverse=True, return_counts=True)
    weights: Floats = len(truth) / (len(classes) * counts[place])
    return weights


def _ranks(scores: Floats, is_true: npt.NDArray[np.bool_]) -> Floats:
    """Return the share of the other class's scores below (of a positive) or above each score."""
    found = np.zeros(scores.shape)
    for mine, sign in ((is_true, 1.0), (~is_true, -1.0)):
        others = np.sort(sign * scores[:, ~mine], axis=None)
        others = others[~np.isnan(others)]
        own = sign * scores[:, mine]
        below = np.searchsorted(others, own, "left") + np.searchsorted(others, own, "right")
        found[:, mine] = below / max(1, 2 * len(others))
    return found
