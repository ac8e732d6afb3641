"""Answers and truths of the same requests, checked and brought into one form.

Requests with weight 0 are dropped, as if they did not exist. Answers that are missing count as
wrong or are left out, as the caller says; without a word of the caller they are an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rdv.analysis.metrics.ragged import Lists
from rdv.analysis.statistics.sample import (
    BoolArray,
    FloatArray,
    IntArray,
    InvalidSample,
    as_sample,
    same_length,
)

Needs = Literal["class", "score", "probability", "number", "list", "value"]
"""A class label; any number that is higher for likelier positives; a probability of the positive; a
number that estimates a number; a ranked list; the business's own value of an answer.
"""
Missing = Literal["wrong", "left out"]
AnyArray = npt.NDArray[Any]
_NO_WRONG = {
    "number": "no number is the wrong one: leave them out, or give the default's",
    "value": "give the value of having no answer, or leave them out",
}


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Answers and truths with positive weights, and which of the given rows they are.

    `values` are codes of classes (-1 for a missing answer) or numbers; `truths` are codes, 0 and 1,
    or numbers. For lists, `lists` holds the scores and the gains instead. `positive` is, for
    classes, where the truth is the positive one (None if there is none), and `is_missing` where a
    missing answer counts as wrong.
    """

    values: FloatArray
    truths: FloatArray
    weights: FloatArray
    rows: IntArray
    is_missing: BoolArray
    lists: tuple[Lists, Lists] | None = None
    positive: float | None = None
    """The code of the positive class."""

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def everything(self) -> tuple[tuple[str, BoolArray], ...]:
        """The part of a metric that depends on all requests alike."""
        return (("requests", np.ones(len(self), dtype=np.bool_)),)

    def take(self, rows: BoolArray) -> Sample:
        """Return the sample of some of its requests."""
        lists = None if self.lists is None else (self.lists[0].take(rows), self.lists[1].take(rows))
        return Sample(
            self.values[rows],
            self.truths[rows],
            self.weights[rows],
            self.rows[rows],
            self.is_missing[rows],
            lists,
            self.positive,
        )


def sample_of(
    needs: Needs,
    values: npt.ArrayLike | Lists,
    truths: npt.ArrayLike | Lists | None,
    *,
    weights: npt.ArrayLike | None = None,
    missing: Missing | None = None,
    positive: Any = None,
) -> Sample:
    """Return the checked sample of the requests that count. Raises InvalidSample."""
    if isinstance(values, Lists) or isinstance(truths, Lists) or needs == "list":
        return _of_lists(needs, values, truths, weights, missing)
    array = _flat("values", values)
    if needs == "value":
        truths = np.zeros(len(array))
    elif truths is None:
        raise InvalidSample("truths", "are needed for this metric")
    known = _flat("truths", truths)
    same_length(array, known)
    heavy = _weights(weights, len(array))
    rows = np.flatnonzero(heavy > 0)
    array, known = array[rows], known[rows]
    absent = _is_absent(array)
    _check_truths(known)
    keep = _kept(needs, absent, missing)
    array, known, absent, rows = array[keep], known[keep], absent[keep], rows[keep]
    code = None
    if needs == "class":
        encoded, truth, code = _classes(array, known, absent, positive)
    elif needs in ("score", "probability"):
        truth = _positives(known, positive)
        encoded = _scores(needs, array, truth, absent)
    else:
        encoded, truth = (
            as_sample("values", array, at_least=0),
            as_sample("truths", known, at_least=0),
        )
    return Sample(encoded, truth, heavy[rows], rows, absent, positive=code)


def _of_lists(
    needs: Needs,
    values: npt.ArrayLike | Lists,
    truths: npt.ArrayLike | Lists | None,
    weights: npt.ArrayLike | None,
    missing: Missing | None,
) -> Sample:
    if needs != "list":
        raise InvalidSample("values", f"are lists, but this metric needs a {needs}")
    if not isinstance(values, Lists) or not isinstance(truths, Lists):
        raise InvalidSample("values", "this metric needs Lists of scores and of gains")
    values.check_alike(truths)
    heavy = _weights(weights, len(values))
    absent = values.is_empty
    rows = np.flatnonzero(heavy > 0)
    rows = rows[_kept(needs, absent[rows], missing)]
    chosen = np.zeros(len(values), dtype=np.bool_)
    chosen[rows] = True
    none = np.zeros(len(rows))
    lists = (values.take(chosen), truths.take(chosen))
    return Sample(none, none, heavy[rows], rows, absent[rows], lists)


def _flat(name: str, values: npt.ArrayLike) -> AnyArray:
    array: AnyArray = np.asarray(values)
    if array.ndim != 1:
        raise InvalidSample(name, f"has {array.ndim} dimensions, needs one")
    return array


def _weights(weights: npt.ArrayLike | None, count: int) -> FloatArray:
    if weights is None:
        return np.ones(count)
    heavy = as_sample("weights", weights, at_least=0)
    if len(heavy) != count:
        raise InvalidSample("weights", f"there are {len(heavy)}, for {count} requests")
    if bool(np.any(heavy < 0)):
        raise InvalidSample("weights", "must not be negative")
    return heavy


def _is_absent(array: AnyArray) -> BoolArray:
    """Return where a value is None or NaN."""
    if array.dtype.kind == "f":
        return np.asarray(np.isnan(array), dtype=np.bool_)
    if array.dtype.kind == "O":
        return np.array([one is None or one != one for one in array.tolist()], dtype=np.bool_)  # noqa: PLR0124 - NaN
    return np.zeros(len(array), dtype=np.bool_)


def _check_truths(truths: AnyArray) -> None:
    unknown = int(np.count_nonzero(_is_absent(truths)))
    if unknown:
        raise InvalidSample("truths", f"{unknown} of {len(truths)} are not known; drop them first")


def _kept(needs: Needs, absent: BoolArray, missing: Missing | None) -> BoolArray:
    """Return which requests stay, by what the caller says of missing answers."""
    if missing == "left out" or not absent.any():
        return ~absent
    if missing is None:
        count = f"{int(np.count_nonzero(absent))} of {len(absent)} requests have no answer"
        raise InvalidSample("values", f"{count}; say whether these are wrong or left out")
    if needs in _NO_WRONG:
        raise InvalidSample("values", f"some answers are missing, and {_NO_WRONG[needs]}")
    return np.ones(len(absent), dtype=np.bool_)


def _classes(
    values: AnyArray, truths: AnyArray, absent: BoolArray, positive: Any
) -> tuple[FloatArray, FloatArray, float | None]:
    """Return the codes of both, and that of the positive class: 1 or True unless it is given."""
    given = values[~absent]
    if len(given) and _is_text(given) != _is_text(truths):
        kinds = ("text", "not text") if _is_text(given) else ("not text", "text")
        raise InvalidSample(
            "values", f"labels are {kinds[0]} and truths {kinds[1]}: none can match"
        )
    both, count = _joined(truths, given), len(truths)
    labels, codes = _coded(both)
    encoded = np.full(len(values), -1.0)
    encoded[~absent] = codes[count:]
    wanted = 1 if positive is None else positive
    code = next((float(at) for at, label in enumerate(labels) if label == wanted), None)
    if code is None and positive is not None:
        raise InvalidSample("positive", f"no truth and no answer is {positive!r}")
    return encoded, codes[:count].astype(np.float64), code


def _is_text(array: AnyArray) -> bool:
    if array.dtype.kind == "O":
        return all(isinstance(one, str) for one in array.tolist())
    return array.dtype.kind in "US"


def _joined(truths: AnyArray, given: AnyArray) -> AnyArray:
    if truths.dtype.kind == "O" or given.dtype.kind == "O":
        return np.array([*truths.tolist(), *given.tolist(), None], dtype=object)[:-1]
    return np.concatenate([truths, given])


def _coded(array: AnyArray) -> tuple[list[Any], IntArray]:
    if array.dtype.kind == "O":
        codes: dict[Any, int] = {}
        found = [codes.setdefault(one, len(codes)) for one in array.tolist()]
        return list(codes), np.array(found, dtype=np.int64)
    labels, places = np.unique(array, return_inverse=True)
    return labels.tolist(), places.astype(np.int64)


def _positives(truths: AnyArray, positive: Any) -> FloatArray:
    """Return 1 where the truth is the positive one, else 0."""
    if positive is not None:
        return np.array([one == positive for one in truths.tolist()], dtype=np.float64)
    if truths.dtype.kind not in "biufO":
        raise InvalidSample("truths", "are not 0 and 1; say which value is positive")
    found = as_sample("truths", truths, at_least=0)
    if not bool(np.all((found == 0) | (found == 1))):
        raise InvalidSample("truths", "are not 0 and 1; say which value is positive")
    return found


def _scores(needs: Needs, values: AnyArray, truths: FloatArray, absent: BoolArray) -> FloatArray:
    """Return the scores; for a missing answer the most wrong one."""
    encoded = np.where(truths > 0, 0.0, 1.0)
    if needs == "score":
        encoded = np.where(truths > 0, -np.inf, np.inf)
    encoded[~absent] = as_sample("values", values[~absent], at_least=0)
    if needs == "probability" and bool(np.any((encoded < 0) | (encoded > 1))):
        raise InvalidSample("values", "must be probabilities, between 0 and 1")
    return encoded
