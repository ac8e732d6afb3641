"""Check the arguments of all statistics in one place; ranks of values among themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.errors import InputFault

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class InvalidSample(InputFault):
    """A statistic cannot be made of these values or with this setting."""

    name: str
    reason: str

    _text = "{name}: {reason}"


def as_sample(name: str, values: npt.ArrayLike, *, at_least: int = 1) -> FloatArray:
    """Return `values` as a flat array of at least `at_least` finite floats, or InvalidSample."""
    array = _one_dimension(name, values)
    try:
        sample: FloatArray = array.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        raise InvalidSample(name, "not all values are numbers") from None
    if len(sample) < at_least:
        raise InvalidSample(name, f"has {len(sample)} values, needs at least {at_least}")
    bad = len(sample) - int(np.count_nonzero(np.isfinite(sample)))
    if bad:
        raise InvalidSample(name, f"{bad} of {len(sample)} values are not finite; drop them first")
    return sample


def as_pair(
    first: npt.ArrayLike, second: npt.ArrayLike, *, at_least: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Return two samples of the same requests, in the same order. Raises InvalidSample."""
    a = as_sample("first", first, at_least=at_least)
    b = as_sample("second", second, at_least=at_least)
    same_length(a, b)
    return a, b


def as_truths(name: str, values: npt.ArrayLike) -> BoolArray:
    """Return `values` as booleans: True/False or 0/1. Raises InvalidSample."""
    array = _one_dimension(name, values)
    if array.dtype == np.bool_:
        return array
    sample = as_sample(name, array, at_least=0)
    if not bool(np.all((sample == 0) | (sample == 1))):
        raise InvalidSample(name, "must be true or false (1 or 0) for each request")
    truths: BoolArray = sample == 1
    return truths


def same_length(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> None:
    """Raise InvalidSample unless the two have one value for each of the same requests."""
    if len(first) != len(second):
        raise InvalidSample("pair", f"{len(first)} values cannot be paired with {len(second)}")


def check_share(name: str, value: float) -> None:
    """Raise InvalidSample unless 0 < value < 1: a confidence, a quantile, an error rate."""
    if not 0 < value < 1:
        raise InvalidSample(name, f"{value} is not between 0 and 1")


def check_count(name: str, value: float, *, at_least: float = 0) -> None:
    """Raise InvalidSample unless the count is finite and not below `at_least`."""
    if not (np.isfinite(value) and value >= at_least):
        raise InvalidSample(name, f"{value} is not at least {at_least}")


def _one_dimension(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.asarray(values)
    if array.ndim != 1:
        raise InvalidSample(name, f"has {array.ndim} dimensions, needs one")
    return array


def mid_ranks(values: FloatArray) -> FloatArray:
    """Return ranks from 1 for the smallest; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: FloatArray = (last - (counts - 1) / 2)[place]
    return ranks
