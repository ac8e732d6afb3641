"""These functions encode a model's Python result as JSON, or give the reason why they cannot.

JSON has no NaN and no infinity, and orjson silently writes `null` for them. A model that answers
NaN has failed, and its answer must not be used; so every `null` in the text is traced to its
source.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import orjson

from rdv.payload import UnusableJson, read_json
from rdv.rendezvous.messages.codec import InvalidModelResult

RESULT_BYTES_MAX = 1024 * 1024
"""The maximum size of a result in bytes, unless another limit is given; a larger one is refused."""

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def encode_model_result(value: object, bytes_max: int = RESULT_BYTES_MAX) -> msgspec.Raw:
    """Encode what `predict` returned for one row as JSON: plain values, dataclasses, numpy.

    `None` at the top is refused: it is a forgotten `return` far more often than an answer. Keys may
    be numbers (class labels). Thread-safe. Raises InvalidModelResult.
    """
    if value is None:
        raise InvalidModelResult("result", "is None")
    try:
        text = _dump(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidModelResult("result", f"is not JSON: {error}") from error
    if b"null" in text:
        for where, reason in _not_finite(value, "result"):
            raise InvalidModelResult(where, reason)
    raw = _limited(text, bytes_max)
    try:
        written = read_json(text)  # an orjson.Fragment may hold any text
    except UnusableJson as error:
        raise InvalidModelResult("result", error.verdict()) from error
    if written is None:
        raise InvalidModelResult("result", "is null")
    return raw


def check_result_json(text: bytes, bytes_max: int = RESULT_BYTES_MAX) -> msgspec.Raw:
    """Check the JSON that a model wrote itself (on its stdout, over HTTP); keep its bytes.

    `rdv.payload` defines what is accepted. Thread-safe. Raises InvalidModelResult.
    """
    raw = _limited(text.strip(), bytes_max)
    try:
        value = read_json(text)
    except UnusableJson as error:
        raise InvalidModelResult("result", error.verdict()) from error
    if value is None:
        raise InvalidModelResult("result", "is null")
    return raw


def _limited(text: bytes, bytes_max: int) -> msgspec.Raw:
    if len(text) > bytes_max:
        raise InvalidModelResult("result", f"has {len(text)} bytes, more than {bytes_max}")
    return msgspec.Raw(text)


def _dump(value: object) -> bytes:
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except TypeError:  # perhaps class labels as keys: rare, and slow for all other results
        options = _OPTIONS | orjson.OPT_NON_STR_KEYS
        return orjson.dumps(_with_plain_keys(value), default=_plain, option=options)


def _with_plain_keys(value: object) -> object:
    """Convert numpy scalars among the keys to Python values, as orjson has no hook for keys.

    `dict(zip(model.classes_, probabilities))` has such keys.
    """
    if isinstance(value, dict):
        return {
            key.item() if hasattr(key, "item") else key: _with_plain_keys(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_with_plain_keys(item) for item in value]
    return value


def _plain(value: Any) -> object:
    """Convert what orjson does not know: arrays that are not contiguous, tensors, sets."""
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if callable(to_list := getattr(value, "tolist", None)):
        return to_list()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _not_finite(value: object, where: str) -> Iterator[tuple[str, str]]:
    """Yield every place below `value` with a number that is not finite, as (place, what it is)."""
    if isinstance(value, float):
        if not math.isfinite(value):
            yield where, f"is {float(value)}"
        return
    for suffix, item in _parts(value):
        yield from _not_finite(item, where + suffix)


def _parts(value: Any) -> Iterable[tuple[str, object]]:
    """Return the parts of `value`, as orjson sees it."""
    if isinstance(value, dict):
        return ((f".{key}", item) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return ((f"[{number}]", item) for number, item in enumerate(value))
    if isinstance(value, enum.Enum):
        return (("", value.value),)
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return ((f".{field.name}", getattr(value, field.name)) for field in fields)
    if callable(to_list := getattr(value, "tolist", None)):  # numpy, without importing it
        return (("", to_list()),)
    return ()
