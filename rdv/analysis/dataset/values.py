"""Extract the one value of an answer by which answers are compared and judged.

Which part of an answer that is, and how an outcome is read, is a `Reading`. An answer without that
part has no value (NaN).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.reading import Reading, class_name, item_name, items_of, number_of
from rdv.analysis.errors import TooManyValues
from rdv.payload import UnusableJson, canonical, read_recorded

CLASSES_MAX = 65_536
CACHE_MAX = 100_000
TEXTS_MAX = 5_000_000
"""The maximum number of different answers and outcomes that are kept as they are."""
CACHED_BYTES_MAX = 500
"""The maximum number of bytes of a cached answer, so that the size of the cache is bounded."""
ONE_CLASS = (
    "every known outcome is {only}: a model that always says so would be right. Record the other "
    "outcomes as well, or declare mature_as in [outcome] of rdv.toml"
)
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
    """Values of answers as float64: numbers unchanged, classes as codes.

    For one thread at a time. Raises TooManyValues.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.is_number = reading.kind in ("probability", "number")
        self.unreadable = 0
        """Unreadable answers and outcomes, equal ones counted once; they have no value."""
        self._classes: dict[str, float] = {}
        self._shown: list[bytes] = []
        self.of_json = TextCache(self._of_text).__getitem__
        """Returns the value of an answer as it is in the log; NaN if it has none."""

    def of_answer(self, answer: Any) -> float:
        """Return the value of an answer that has been parsed."""
        value = self.reading.answer_of(answer)
        if self.is_number:
            return number_of(value)
        return self.of_value(value)

    def of_value(self, value: Any) -> float:
        """Return the code of the class that an answer's field names; NaN if it is missing."""
        name = class_name(value)
        return math.nan if name is None else self._code(self.reading.means.get(name, name), value)

    def of_truth(self, truth: Any) -> float:
        """Return the value of an outcome; of a probability: 1 where it is positive, else 0."""
        return self.of_outcome(self.reading.truth_of(truth))

    def of_outcome(self, value: Any) -> float:
        """Return what `of_truth` returns, for the part of an outcome that counts."""
        reading = self.reading
        if reading.problem:
            return math.nan
        if reading.kind == "number":
            return number_of(value)
        name = class_name(value)
        if name is None:
            return math.nan
        if reading.kind == "probability":
            return float(name == reading.positive)
        return self._code(name, value)

    def judge(self, values: Floats, truths: Floats) -> Floats:
        """Return 1 where a value is right, 0 where it is wrong, NaN where that is unknown.

        No answer is wrong. Numbers and rankings are neither right nor wrong.
        """
        reading = self.reading
        if not reading.has_right:
            return np.full(len(truths), np.nan)
        if reading.kind == "class":
            right = values == truths
        else:
            right = ((values >= reading.threshold) == (truths == 1)) & ~np.isnan(values)
        return np.where(np.isnan(truths), np.nan, right.astype(np.float64))

    def truth_name(self, value: float) -> str:
        """Return an outcome as text."""
        if self.reading.kind != "probability":
            return self.name(value)
        return self.reading.positive if value == 1 else f"not {self.reading.positive}"

    def code_of(self, name: str) -> float | None:
        """Return the code of a class by its name; None if it has not been seen."""
        return self._classes.get(name)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by their codes."""
        return tuple(self._classes)

    def name(self, value: float) -> str:
        """Return a value as text; of a class as JSON, as it was first seen."""
        if math.isnan(value):
            return "-"
        return f"{value:g}" if self.is_number else self._shown[int(value)].decode()

    def _of_text(self, text: bytes) -> float:
        try:
            return self.of_answer(read_recorded(text))
        except UnusableJson:
            self.unreadable += 1
            return math.nan

    def _code(self, name: str, value: Any) -> float:
        code = self._classes.get(name)
        if code is None:
            if len(self._classes) >= CLASSES_MAX:
                raise TooManyValues(self.reading.answer or "", CLASSES_MAX)
            code = self._classes[name] = float(len(self._shown))
            shown = value if name == class_name(value) else name
            self._shown.append(canonical(shown))
        return code


class Texts(Extract):
    """Codes of different answers and outcomes, which `read` returns again.

    Of an answer that is an object the field `reading.answer` counts, if it is named; the same of
    outcomes and `reading.truth`. Raises TooManyValues.
    """

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading)
        self.is_number = False
        self._texts: list[bytes] = []
        self._codes: dict[bytes, float] = {}

    def read(self, code: float) -> Any:
        """Return the answer or outcome of a code."""
        return read_recorded(self._texts[int(code)])

    def text(self, code: float) -> bytes:
        """Return the answer or outcome of a code as JSON."""
        return self._texts[int(code)]

    def of_answer(self, answer: Any) -> float:
        name = self.reading.answer
        return self.of_value(answer.get(name) if name and isinstance(answer, dict) else answer)

    def of_value(self, value: Any) -> float:
        """Return the code of a value; NaN for null."""
        if value is None:
            return math.nan
        text = canonical(value)
        code = self._codes.get(text)
        if code is None:
            if len(self._texts) >= TEXTS_MAX:
                raise TooManyValues(self.reading.answer or "", TEXTS_MAX)
            code = self._codes[text] = float(len(self._texts))
            self._texts.append(text)
        return code

    def of_truth(self, truth: Any) -> float:
        name = self.reading.truth
        return self.of_value(truth.get(name) if name and isinstance(truth, dict) else truth)

    def of_outcome(self, value: Any) -> float:
        return self.of_value(value)

    def judge(self, values: Floats, truths: Floats) -> Floats:  # noqa: ARG002 - as Extract
        """Return NaN: an answer has a value, and is neither right nor wrong."""
        return np.full(len(truths), np.nan)

    def name(self, value: float) -> str:
        return "-" if math.isnan(value) else self._texts[int(value)].decode()

    def truth_name(self, value: float) -> str:
        return self.name(value)


class Rankings(Texts):
    """Codes of ranked lists of items and of gains by item; equal lists have equal codes.

    An outcome that names no items, or a gain that is no number, has no value.
    """

    def of_answer(self, answer: Any) -> float:
        """Return the code of an answer's list; NaN if it has none."""
        part = answer.get(self.reading.answer) if isinstance(answer, dict) else answer
        if not isinstance(part, list):
            return math.nan
        names = dict.fromkeys(name for item in part if (name := item_name(item)) is not None)
        return self.of_value(list(names))

    def of_truth(self, truth: Any) -> float:
        return self.of_outcome(self.reading.truth_of(truth))

    def of_outcome(self, value: Any) -> float:
        gains = None if self.reading.problem else items_of(value)
        return math.nan if gains is None else self.of_value(gains)


def extract_of(reading: Reading) -> Extract:
    """Return what reads answers and outcomes like that."""
    return Rankings(reading) if reading.kind == "ranking" else Extract(reading)


class KnownTruths:
    """Counts the known outcomes of a study, batch by batch. For one thread at a time."""

    def __init__(self, extract: Extract) -> None:
        self._extract = extract
        self._counts: Counter[float] = Counter()
        self.known = 0

    def add(self, truths: Floats) -> None:
        """Add the outcomes of some requests, NaN where they are unknown."""
        known = truths[~np.isnan(truths)]
        self.known += len(known)
        if self._extract.reading.has_right:
            values, counts = np.unique(known, return_counts=True)
            self._counts.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))

    @property
    def classes(self) -> dict[str, int]:
        """The number of outcomes by class, the most frequent first; empty for numbers."""
        return {self._extract.truth_name(value): n for value, n in self._counts.most_common()}

    def base_rate(self) -> str:
        """Return how often an answer that never changes would be right, in words; or nothing."""
        classes = self.classes
        if len(classes) < 2:  # noqa: PLR2004 - one class is a problem of its own
            return ""
        name, count = next(iter(classes.items()))
        return f"always saying {name} would be right in {100 * count / self.known:.1f} %"

    @property
    def problem(self) -> str:
        """Why the outcomes do not tell which answers are right; empty if they do."""
        if self._extract.reading.problem:
            return self._extract.reading.problem
        if not self.known:
            return "no outcome of these requests is known"
        classes = self.classes
        return ONE_CLASS.format(only=next(iter(classes))) if len(classes) == 1 else ""
