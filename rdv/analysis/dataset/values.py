"""Extract the one value of an answer by which answers are compared.

The rule: `--on FIELD` names the field of the answer that counts. Without it, the first of these
that the answer has: `action`, `label`, `bin`, `class` (compared for equality), `score`,
`probability` (a number). An answer that is not an object counts as a whole; floats are numbers,
everything else is compared for equality. An answer without such a field has no value (NaN).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from rdv.analysis.errors import TooManyValues
from rdv.payload import UnusableJson, canonical, read_recorded

EQUAL_FIELDS = ("action", "label", "bin", "class")
NUMBER_FIELDS = ("score", "probability")
CLASSES_MAX = 65_536
CACHE_MAX = 100_000
CACHED_BYTES_MAX = 500
"""The maximum number of bytes of a cached answer, so that the size of the cache is bounded."""
HALF = 0.5
Floats = npt.NDArray[np.float64]
_V = TypeVar("_V")


class TextCache(dict[bytes, _V]):
    """Values by the text that they are read from: a missing one is read, and kept if short."""

    def __init__(self, read: Callable[[bytes], _V]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: bytes) -> _V:
        found = self._read(text)
        if len(text) <= CACHED_BYTES_MAX:
            if len(self) >= CACHE_MAX:
                self.clear()
            self[text] = found
        return found


class Extract:
    """Values of answers as float64: numbers unchanged, anything else as the code of its class.

    The first answer decides whether values are numbers. For one thread at a time. Raises
    TooManyValues.
    """

    def __init__(self, on: str | None = None) -> None:
        self.on = on
        self.is_number: bool | None = None
        """None while no answer has been seen."""
        self.unreadable = 0
        """Unreadable answers and outcomes, equal ones counted once; they have no value."""
        self._classes: dict[bytes, int] = {}
        self.of_json = TextCache(self._of_text).__getitem__
        """Returns the value of an answer as it is in the log; NaN if it has none."""

    def of_answer(self, answer: Any) -> float:
        """Return the value of an answer that has been parsed."""
        field, value = self._field(answer)
        if value is None:
            return math.nan
        if self.is_number is None:
            self.is_number = self._is_number_field(field, value)
        return self._encoded(value)

    def of_truth(self, truth: Any) -> float:
        """Return the value of an outcome: like an answer's, but a bare value always counts."""
        _, value = self._field(truth)
        if value is None or self.is_number is None:
            return math.nan
        return self._encoded(value)

    def name(self, value: float) -> str:
        """Return a value as text."""
        if math.isnan(value):
            return "-"
        if self.is_number:
            return f"{value:g}"
        return next(text for text, code in self._classes.items() if code == value).decode()

    def _of_text(self, text: bytes) -> float:
        try:
            return self.of_answer(read_recorded(text))
        except UnusableJson:
            self.unreadable += 1
            return math.nan

    def _field(self, answer: Any) -> tuple[str, Any]:
        if not isinstance(answer, dict):
            return "", answer
        fields = (*EQUAL_FIELDS, *NUMBER_FIELDS) if self.on is None else (self.on,)
        return next(((field, answer[field]) for field in fields if field in answer), ("", None))

    def _is_number_field(self, field: str, value: Any) -> bool:
        if self.on is None and field in EQUAL_FIELDS:
            return False
        if self.on is None and field in NUMBER_FIELDS:
            return is_json_number(value)
        return isinstance(value, float)

    def _encoded(self, value: Any) -> float:
        if self.is_number:
            return float(value) if isinstance(value, (int, float)) else math.nan
        text = canonical(value)
        code = self._classes.get(text)
        if code is None:
            if len(self._classes) >= CLASSES_MAX:
                raise TooManyValues(self.on or "", CLASSES_MAX)
            code = self._classes[text] = len(self._classes)
        return float(code)


def is_json_number(value: Any) -> bool:
    """Return whether a value of JSON is a number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def judge(values: Floats, truths: Floats, *, is_number: bool) -> Floats:
    """Return 1 where the value is right, 0 where it is wrong, NaN where that is unknown.

    Classes are right if they are equal. Numbers are read as probabilities of a yes: right if on the
    same side of 0.5 as a truth of 0 or 1; unknown for any other truth.
    """
    known = ~np.isnan(truths)
    if not is_number:
        right = values == truths  # a missing value is wrong too: there was no answer
        return np.where(known, right.astype(np.float64), np.nan)
    known &= (truths == 0) | (truths == 1)
    right = (values >= HALF) == (truths >= HALF)
    right &= ~np.isnan(values)
    return np.where(known, right.astype(np.float64), np.nan)
