"""What a metric is: what it needs, how it is shown, and what it measures of a sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rdv.analysis.metrics.ragged import Lists
from rdv.analysis.metrics.sample import Missing, Needs, Sample, sample_of
from rdv.analysis.statistics.sample import BoolArray, FloatArray, IntArray

Spread = Literal["share", "bounded", "unbounded"]
"""Whether the metric of one request is 0 or 1, a number between 0 and 1, or any number. A metric
that is not a mean counts as bounded if it is between 0 and 1.
"""
ONE_CLASS = "all known truths are alike, so that an answer that never changes would be perfect"


@dataclass(frozen=True, slots=True)
class Undefined:
    """The metric has no value for these requests; `reason` is a sentence part that says why."""

    metric: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Reweighted:
    """A value at other weights of the same requests.

    `at` takes the weights of `rows`, which are those that may matter, and the sum of the weights of
    each of `groups`. It returns NaN where the value is undefined.
    """

    rows: IntArray
    groups: tuple[BoolArray, ...]
    at: Callable[[FloatArray, Sequence[float]], float]

    def value(self, weights: FloatArray) -> float:
        """Return the value at these weights of all requests."""
        return self.at(weights[self.rows], [float(weights[rows].sum()) for rows in self.groups])


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The value of a metric of one sample, with what intervals need.

    `influence` is, for each request, how the value changes with its weight; the sum over requests
    is 0. Metrics that jump have `reweighted` instead, the value at other weights of the same
    requests; a sum of absolute gaps has `gaps`, which returns them at other weights.
    `parts` are the groups of requests that the value depends on, each of which must be large enough
    for an interval. `rows` are the values of single requests, if the metric is their mean.
    """

    value: float
    parts: tuple[tuple[str, BoolArray], ...]
    influence: FloatArray | None = None
    reweighted: Reweighted | None = None
    gaps: Callable[[FloatArray], FloatArray] | None = None
    rows: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure of how good answers are, known by one name in every command.

    `is_mean`: it is a mean over requests, so that an always-valid sequence exists (`sequence`).
    `spread` decides the kind of interval. `unit` is "%" for shares, which are shown times 100.
    `undefined_when` is for the documentation. The functions are pure and safe in any thread.
    """

    name: str
    needs: Needs
    higher_is_better: bool
    is_mean: bool
    spread: Spread
    unit: str
    digits: int
    title: str
    undefined_when: str
    measure: Callable[[Sample], Measured | str]
    """Returns the reason as text where the metric is undefined."""

    def of(
        self,
        values: npt.ArrayLike | Lists,
        truths: npt.ArrayLike | Lists | None = None,
        *,
        weights: npt.ArrayLike | None = None,
        missing: Missing | None = None,
        positive: Any = None,
    ) -> float | Undefined:
        """Return the metric of these answers, never NaN; Undefined with the reason if it has none.

        `values` are labels, scores, probabilities of the positive, numbers, or `Lists`, by `needs`.
        A missing answer is None or NaN; `missing` says whether it counts as "wrong" or is to be
        "left out". `positive` is the truth that counts as positive if truths are not 0 and 1.
        Raises InvalidSample.
        """
        sample = sample_of(
            self.needs, values, truths, weights=weights, missing=missing, positive=positive
        )
        found = self.measured(sample)
        return found if isinstance(found, Undefined) else found.value

    def measured(self, sample: Sample) -> Measured | Undefined:
        """Return the value of a sample of the right kind, and what intervals need."""
        if not len(sample):
            return Undefined(self.name, "there is no request with a known truth and an answer")
        if self.is_mean and self.needs in ("class", "probability") and has_one_class(sample):
            return Undefined(self.name, ONE_CLASS)
        found = self.measure(sample)
        return Undefined(self.name, found) if isinstance(found, str) else found

    def rows(
        self, values: npt.ArrayLike, truths: npt.ArrayLike, *, missing: Missing | None = None
    ) -> FloatArray:
        """Return the metric of each request of which it is the mean; NaN where it is left out.

        Only for metrics that are means (`is_mean`). Other arguments as in `of`.
        """
        sample = sample_of(self.needs, values, truths, missing=missing)
        found = np.full(len(np.asarray(values)), np.nan)
        if len(sample):
            measured = self.measure(sample)
            assert isinstance(measured, Measured)
            assert measured.rows is not None
            found[sample.rows] = measured.rows
        return found

    def is_better(self, first: float, second: float) -> bool:
        """Return whether the first value is better than the second."""
        return first > second if self.higher_is_better else first < second

    def text(self, value: float) -> str:
        """Return a value for display: with its digits and its unit."""
        if self.unit == "%":
            return f"{100 * value:.{self.digits}f} %"
        return f"{value:,.{self.digits}f}{f' {self.unit}' if self.unit else ''}"


def has_one_class(sample: Sample) -> bool:
    """Return whether all truths are the same, so that nothing can be told apart."""
    return bool(np.all(sample.truths == sample.truths[0]))
