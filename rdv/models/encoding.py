"""Encodes what a model returned for a row as JSON, or an error. Thread-safe."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import orjson

from rdv.messages import (
    RESULT_BYTES_MAX,
    InvalidModelResult,
    check_result_json,
    encode_model_result,
    one_line,
)
from rdv.models.errors import ModelError, describe, shortened
from rdv.models.model import Outcome
from rdv.payload import DEPTH_MAX, LARGE_FLOAT, PLAIN, look

__all__ = ["RESULT_BYTES_MAX", "check_result", "encode_result", "encode_results"]

_skip = msgspec.json.Decoder(msgspec.Raw).decode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_LF, _CR = b"\n\r"


def encode_results(values: Sequence[object], bytes_max: int) -> list[Outcome]:
    """Encode each value as `encode_result`; usual batches are checked in one pass."""
    if len(values) == 1:
        return [encode_result(values[0], bytes_max)]
    try:
        texts = [orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY) for value in values]
        together = b"[%b]" % b",".join(texts)
        if (
            b"null" not in together
            and len(together) <= bytes_max
            and not (_LF in together or _CR in together)
            and together.isascii()
            and look(together, DEPTH_MAX) == PLAIN
            and list(map(bytes, _split(together))) == texts
        ):
            return list(texts)
    except (TypeError, msgspec.DecodeError):
        pass
    return [encode_result(value, bytes_max) for value in values]


def encode_result(value: object, bytes_max: int = RESULT_BYTES_MAX) -> bytes | ModelError:
    """Return a result as JSON: plain values, numpy values, sets, objects with `tolist`."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        return _encode_carefully(value, bytes_max)
    # NaN is written as null, and an orjson.Fragment is copied as it is, whatever it contains.
    if b"null" in text or len(text) > bytes_max or not _is_json(text):
        return _encode_carefully(value, bytes_max)
    return one_line(text)


def _is_json(text: bytes) -> bool:
    """Check as `read_json` what orjson has written; build the value only where necessary."""
    found = look(text, DEPTH_MAX)
    try:
        if found == PLAIN:
            _skip(text)
            return text.isascii() or bool(text.decode())
        return found == LARGE_FLOAT and orjson.loads(text) is not None
    except (msgspec.DecodeError, ValueError):
        return False


def _encode_carefully(value: object, bytes_max: int) -> bytes | ModelError:
    try:
        return one_line(bytes(encode_model_result(value, bytes_max)))
    except InvalidModelResult as error:
        return ModelError(shortened(error.text()), "result")
    except Exception as error:  # noqa: BLE001 - a model's own objects may raise anything
        return ModelError(shortened(f"the model's result is not JSON: {describe(error)}"), "result")


def check_result(text: bytes, bytes_max: int = RESULT_BYTES_MAX) -> bytes | ModelError:
    """Check the JSON that a model wrote itself, and keep it; line breaks in it become spaces."""
    try:
        return one_line(bytes(check_result_json(text, bytes_max)))
    except InvalidModelResult as error:
        return ModelError(shortened(error.text()), "result")
