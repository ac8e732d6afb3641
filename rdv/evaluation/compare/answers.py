"""An answer has two sides: the class that it names, and its number.

`{"score": 0.93, "action": "block"}` is the class "block" and the number 0.93. Which fields count is
the rule of `rdv.evaluation.values`; with `on`, only that field counts.
"""

from __future__ import annotations

import math
from typing import Any

from rdv.evaluation.values import CACHE_MAX, CACHED_BYTES_MAX, NUMBER_FIELDS, Extract
from rdv.payload import UnusableJson, read_recorded

Both = tuple[float, float]
"""(the code of the class, the number); NaN where there is none."""

_NEITHER: Both = (math.nan, math.nan)


class Answers:
    """Reads answers and outcomes. For one thread at a time. Raises TooManyValues."""

    def __init__(self, on: str | None = None) -> None:
        self.on = on
        self.classes = Extract(on)
        """Extracts classes; if `is_number`, there are no classes, and it extracts numbers."""
        self.has_numbers = False
        self.named: set[float] = set()
        """Codes of the classes that answers have named; outcomes may name others."""
        self._cache: dict[bytes, Both] = {}

    def of_json(self, text: bytes) -> Both:
        """Return the class and number of an answer as it is in the log."""
        found = self._cache.get(text)
        if found is None:
            found = self._of_text(text)
            if len(text) <= CACHED_BYTES_MAX:
                if len(self._cache) >= CACHE_MAX:
                    self._cache.clear()
                self._cache[text] = found
        return found

    def of_truth(self, truth: Any) -> Both:
        """Return the class and number of an outcome; a bare number counts as a number too."""
        value = self.classes.of_truth(truth)
        if self.classes.is_number:
            return math.nan, value
        number = _number_of(truth) if self.on is None else math.nan
        return value, number if self.has_numbers else math.nan

    def name(self, code: float) -> str:
        """Return the name of a class as JSON."""
        return self.classes.name(code)

    def _of_text(self, text: bytes) -> Both:
        try:
            answer = read_recorded(text)
        except UnusableJson:
            self.classes.unreadable += 1
            return _NEITHER
        value = self.classes.of_answer(answer)
        if self.classes.is_number:
            self.has_numbers |= not math.isnan(value)
            return math.nan, _finite(value)
        number = _number_of(answer) if self.on is None and isinstance(answer, dict) else math.nan
        self.has_numbers |= not math.isnan(number)
        if not math.isnan(value):
            self.named.add(value)
        return value, number


def _number_of(answer: Any) -> float:
    if isinstance(answer, dict):
        answer = next((answer[name] for name in NUMBER_FIELDS if name in answer), None)
    return _finite(float(answer)) if isinstance(answer, int | float) else math.nan


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan
