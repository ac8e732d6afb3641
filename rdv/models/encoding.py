"""What a model returned for a row, as JSON, or why it is none. Thread-safe.

JSON has no NaN and no infinity; orjson writes `null` for them, silently. A model that answers NaN
has failed and must not be believed, so a `null` in the text is traced to where it came from; a
text without one (nearly all) costs a single search.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import orjson

from rdv.models.errors import ModelError, describe, shortened

RESULT_BYTES_MAX = 1024 * 1024

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY
_DEPTH_MAX = 250
"""Deeper than orjson's own limit, which has been passed when this one counts."""


def encode_result(value: object, bytes_max: int = RESULT_BYTES_MAX) -> bytes | ModelError:
    """The JSON of a result: plain values, numpy scalars and arrays, sets, objects with `tolist`."""
    if value is None:
        return ModelError("predict returned None for a row", "result")
    try:
        text = _dump(value)
        if b"null" in text:
            for where, what in _not_finite(value, "", _DEPTH_MAX):
                place = f" at {where}" if where else ""
                return ModelError(shortened(f"the result has {what}{place}"), "result")
    except Exception as error:  # noqa: BLE001 - a model's own objects may raise anything
        return ModelError(shortened(f"the result is not JSON: {describe(error)}"), "result")
    return _limited(text, bytes_max)


def check_result(text: bytes, bytes_max: int = RESULT_BYTES_MAX) -> bytes | ModelError:
    """The JSON that a model wrote by itself, kept as it is. It has no line breaks."""
    limited = _limited(text, bytes_max)
    if isinstance(limited, ModelError):
        return limited
    try:
        value = orjson.loads(text)
    except ValueError as error:
        return ModelError(shortened(f"the result is not JSON: {error}"), "result")
    return ModelError("the result is null", "result") if value is None else text


def _limited(text: bytes, bytes_max: int) -> bytes | ModelError:
    if len(text) > bytes_max:
        return ModelError(f"the result has {len(text)} bytes, more than {bytes_max}", "result")
    return text


def _dump(value: object) -> bytes:
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except TypeError:
        # Class labels as keys, such as dict(zip(model.classes_, p)): rare, and slow for the rest.
        options = _OPTIONS | orjson.OPT_NON_STR_KEYS
        return orjson.dumps(_with_plain_keys(value), default=_plain, option=options)


def _with_plain_keys(value: object) -> object:
    if isinstance(value, dict):
        return {
            key.item() if hasattr(key, "item") else key: _with_plain_keys(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_with_plain_keys(item) for item in value]
    return value


def _plain(value: Any) -> object:
    """What orjson does not know: arrays that are not contiguous, tensors, sets."""
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if callable(to_list := getattr(value, "tolist", None)):
        return to_list()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _not_finite(value: Any, where: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every place that holds a number which is none, as (place, what it is)."""
    if isinstance(value, float):
        if not math.isfinite(value):
            yield where, str(float(value))
    elif depth:
        for place, item in _parts(value):
            inside = f"{where}.{place}" if where and place[:1] not in ("", "[") else where + place
            yield from _not_finite(item, inside, depth - 1)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What is inside of a value, each with its place."""
    if isinstance(value, dict):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif hasattr(value, "__dataclass_fields__"):
        yield from ((name, getattr(value, name)) for name in value.__dataclass_fields__)
    elif not isinstance(value, (str, bytes, int)) and callable(getattr(value, "tolist", None)):
        yield "", value.tolist()
