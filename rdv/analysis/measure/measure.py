"""What a study measures answers by: a metric, and how it reads answers and outcomes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import Joined
from rdv.analysis.dataset.reading import Reading, class_name
from rdv.analysis.dataset.values import Extract
from rdv.analysis.metrics import Metric, Missing
from rdv.analysis.metrics.regression import value

Floats = npt.NDArray[np.float64]


@dataclass
class Measure:
    """A metric of recorded answers. For one thread at a time.

    `extract` reads answers and outcomes as numbers. `points` are what the metric takes for each
    request; for an answer without any, they are NaN.
    """

    metric: Metric
    extract: Extract
    problem: str = ""
    """Why the metric cannot be had of these answers and outcomes; empty if it can."""
    unit: str = ""
    """The unit of the value of an answer, if the business has declared one."""

    @property
    def reading(self) -> Reading:
        return self.extract.reading

    @property
    def missing(self) -> Missing:
        """What a request without an answer counts as."""
        return "left out" if self.metric.needs in ("number", "value") else "wrong"

    @property
    def absent(self) -> str:
        """Why f1 has no positive class among what was read; empty if it has, or needs none."""
        is_f1 = self.metric.name == "f1" and self.reading.kind == "class"
        if not is_f1 or self.positive is not None:
            return ""
        return f"no known outcome is {self.reading.positive}, the positive one"

    @property
    def positive(self) -> float | None:
        """The code of the positive class; None if truths are 0 and 1, or no one has said it."""
        if self.metric.name != "f1" or self.reading.kind != "class":
            return None
        name = class_name(self.reading.positive)
        return None if name is None else self.extract.code_of(name)

    def points(self, joined: Joined, values: Floats, truths: Floats) -> Floats:  # noqa: ARG002
        """Return what the metric takes for the answers to these requests, (n,)."""
        return self.points_of(values)

    def points_of(self, values: Floats) -> Floats:
        """Return the same of a metric that needs nothing else of the requests."""
        reading = self.reading
        if self.metric.needs == "class" and reading.kind == "probability":
            return np.where(np.isnan(values), np.nan, values >= reading.threshold)
        return values

    def rows(self, points: Floats, truths: Floats) -> Floats:
        """Return the metric of each request, whose mean it is; NaN where it is not known.

        Only for a metric that is a mean.
        """
        found = np.full(len(points), np.nan)
        known = np.flatnonzero(~np.isnan(truths))
        found[known] = self.metric.rows(points[known], truths[known], missing=self.missing)
        return found

    def sentence(self) -> str:
        """Return how answers are measured, in words."""
        if self.metric.needs == "class" and self.reading.kind != "number":
            return self.reading.sentence()
        name = f'"{self.reading.answer}"' if self.reading.answer else "the answer"
        said = f"{self.metric.title}: {name} is held against the outcome"
        if self.metric.needs in ("score", "probability"):
            said += f", of which {self.reading.positive} is positive"
        return said if self.reading.is_declared else f"{said}; inferred"

    def close(self) -> None:
        """End what the measure has started. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RowMeasure(Measure):
    """A metric that is the mean of a value of each pair of answer and outcome.

    `points` are these values. `of_pair` is called once for each different pair.
    """

    def __init__(self, metric: Metric, extract: Extract, unit: str = "") -> None:
        super().__init__(replace(metric, needs="value", measure=value), extract, unit=unit)
        self._pairs: dict[tuple[float | None, float], float] = {}

    def of_pair(self, value: float, truth: float) -> float:
        """Return the value of an answer and an outcome by their codes; NaN if it has none."""
        raise NotImplementedError

    def points(self, joined: Joined, values: Floats, truths: Floats) -> Floats:  # noqa: ARG002
        found = np.full(len(values), np.nan)
        known = np.flatnonzero(~np.isnan(truths))
        pairs = self._pairs
        for row in known.tolist():
            value, truth = float(values[row]), float(truths[row])
            pair = None if math.isnan(value) else value, truth
            if pair not in pairs:
                pairs[pair] = self.of_pair(value, truth)
            found[row] = pairs[pair]
        return found

    def rows(self, points: Floats, truths: Floats) -> Floats:  # noqa: ARG002 - as Measure
        return points


def requests_per_day(count: int, first_ns: Any, last_ns: Any) -> float | None:
    """Return how many requests a day has at this rate; None if that cannot be said."""
    if count < 2 or last_ns <= first_ns:  # noqa: PLR2004 - a rate needs two
        return None
    return float((count - 1) / (last_ns - first_ns) * 86_400e9)
