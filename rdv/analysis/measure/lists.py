"""Metrics of ranked lists: an answer is a list of items, the outcome says which were right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rdv.analysis.dataset.reading import Reading
from rdv.analysis.dataset.values import Texts
from rdv.analysis.measure.measure import RowMeasure
from rdv.analysis.metrics import Lists, Metric, Undefined


class ListMeasure(RowMeasure):
    """NDCG or the hit rate, of one request after the other; it is the mean of these."""

    def __init__(self, metric: Metric, reading: Reading) -> None:
        self._lists = metric
        self._texts = Texts(reading)
        super().__init__(metric, self._texts)

    def of_pair(self, value: float, truth: float) -> float:
        outcome = self._texts.read(truth)
        if isinstance(outcome, Mapping):
            outcome = {item: float(gain) for item, gain in outcome.items()}
        items = [] if math.isnan(value) else self._texts.read(value)
        if not isinstance(items, list):
            return math.nan
        both = Lists.ranked([_hashable(items)], [_truth(outcome)])
        found = self._lists.of(*both, missing="wrong")
        return 0.0 if isinstance(found, Undefined) else found


def _truth(outcome: Any) -> Any:
    if isinstance(outcome, list):
        return _hashable(outcome)
    return outcome if isinstance(outcome, dict) else str(outcome)


def _hashable(items: list[Any]) -> list[Any]:
    """Return items that can be compared; one that is an object counts by its id, or its text."""
    return [_key(item) for item in items]


def _key(item: Any) -> Any:
    if isinstance(item, dict):
        return str(item.get("id", item.get("item", sorted(item.items(), key=str))))
    return str(item)
