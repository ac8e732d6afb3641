"""Metrics of ranked lists: an answer is a list of items, the outcome says which were right."""

from __future__ import annotations

import math

from rdv.analysis.dataset.reading import Reading
from rdv.analysis.dataset.values import Rankings
from rdv.analysis.measure.measure import RowMeasure
from rdv.analysis.metrics import Lists, Metric, Undefined


class ListMeasure(RowMeasure):
    """NDCG, hit rate, precision or reciprocal rank of one request after the other; their mean.

    A request without an answer counts as an empty list. One in which nothing was right counts 0.
    """

    def __init__(self, metric: Metric, reading: Reading) -> None:
        self._lists = metric
        self._rankings = Rankings(reading)
        super().__init__(metric, self._rankings)
        self.problem = reading.problem

    def of_pair(self, value: float, truth: float) -> float:
        gains = self._rankings.read(truth)
        items = [] if math.isnan(value) else self._rankings.read(value)
        both = Lists.ranked([items], [{item: float(gain) for item, gain in gains.items()}])
        found = self._lists.of(*both, missing="wrong")
        return 0.0 if isinstance(found, Undefined) else found

    def sentence(self) -> str:
        return self.reading.sentence()
